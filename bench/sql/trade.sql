\set stock random(0, 9)
\set turn random(0, 999999999999)
BEGIN;
UPDATE stock SET quantity = quantity - 1, trade_volume = trade_volume + 1 WHERE name = 'S' || :stock::text AND quantity >= 1;
INSERT INTO trade (key, name, buy, quantity, price_cents) VALUES ('bench-0000000000000000-00-' || to_char(:turn::bigint, 'FM0000000000000000'), 'S' || :stock::text, true, 1, 1599) RETURNING number;
COMMIT;
