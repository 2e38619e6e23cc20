\set stock random(0, 9)
\set turn random(0, 999999999999)
WITH taken AS (UPDATE stock SET quantity = quantity - 1, trade_volume = trade_volume + 1 WHERE name = 'S' || :stock::text AND quantity >= 1 RETURNING name) INSERT INTO trade (key, name, buy, quantity, price_cents) SELECT 'bench-0000000000000000-00-' || to_char(:turn::bigint, 'FM0000000000000000'), name, true, 1, 1599 FROM taken RETURNING number;
