-- A chunk's totals below zero, counted again from its prices.
INSERT INTO lane_month_deltas (posting_no, chunk_no, month, orig_code, dest_code, days, price_sums, price_counts)
SELECT
    - %(batch_no)s, %(chunk_no)s, month, orig_code, dest_code,
    array_agg(day ORDER BY day), array_agg(- price_sum ORDER BY day), array_agg(- price_count ORDER BY day)
FROM (
    SELECT
        orig_code, dest_code, date_trunc('month', day)::date AS month, extract(DAY FROM day)::smallint AS day,
        sum(price)::bigint AS price_sum, count(*)::integer AS price_count
    FROM prices WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s
    GROUP BY orig_code, dest_code, prices.day
) AS by_day
GROUP BY orig_code, dest_code, month ORDER BY orig_code, dest_code, month;
