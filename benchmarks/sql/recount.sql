-- Sum and count of the prices of each lane and day, from the rows as they were loaded: all that the benchmark
-- knows of the loader's tables.
SELECT orig_code, dest_code, day, sum(price)::bigint AS price_sum, count(*) AS price_count
FROM prices
GROUP BY orig_code, dest_code, day;
