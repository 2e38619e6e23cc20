\set number random(1, 100000)
SELECT number, key, name, buy, quantity, price_cents FROM trade WHERE number = :number;
