\set stock random(0, 9)
\set turn random(0, 999999999999)
INSERT INTO trade (key, name, buy, quantity, price_cents) VALUES ('bench-0000000000000000-00-' || to_char(:turn::bigint, 'FM0000000000000000'), 'S' || :stock::text, false, 1, 1599) RETURNING number;
