-- The same words as the service: ten stocks, and orders with a number, a key, a price.
-- Nothing makes the key unique: exactly once would cost PostgreSQL another index.
CREATE TABLE stock (
    name text PRIMARY KEY,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    trade_volume bigint NOT NULL DEFAULT 0
);
CREATE TABLE trade (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    name text NOT NULL,
    buy boolean NOT NULL,
    quantity bigint NOT NULL,
    price_cents bigint NOT NULL
);
INSERT INTO stock (name, quantity) SELECT 'S' || number, 1000000000000 FROM generate_series(0, 9) AS number;
-- For the reads.
INSERT INTO trade (key, name, buy, quantity, price_cents)
SELECT 'bench-0000000000000000-00-' || to_char(number, 'FM0000000000000000'), 'S' || number % 10, false, 1, 1599
FROM generate_series(1, 100000) AS number;
VACUUM ANALYZE;
