-- What is left and what was sold is what was there, and the orders say the same. Only trades buy.
SELECT sum(quantity) = count(*) * 1000000000000 - sum(trade_volume)
   AND sum(trade_volume) = (SELECT coalesce(sum(quantity), 0) FROM trade WHERE buy)
FROM stock;
