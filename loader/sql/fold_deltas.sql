-- Moves some deltas of published batches into the base, in one statement, so that no reader sees them twice or
-- not at all. Sorted by key: two of these at once cannot deadlock, and pass over what the other holds.
WITH taken AS (
    DELETE FROM lane_day_deltas WHERE ctid IN (
        SELECT lane_day_deltas.ctid FROM lane_day_deltas
        WHERE batch_no IN (SELECT batch_no FROM batches WHERE state = 'published')
        LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    )
    RETURNING orig_code, dest_code, day, price_sum, price_count
),

folded AS (
    INSERT INTO lane_day_totals AS base (orig_code, dest_code, day, price_sum, price_count)
    SELECT orig_code, dest_code, day, sum(price_sum), sum(price_count) FROM taken
    GROUP BY orig_code, dest_code, day ORDER BY orig_code, dest_code, day
    ON CONFLICT (orig_code, dest_code, day) DO UPDATE SET
    price_sum = base.price_sum + excluded.price_sum, price_count = base.price_count + excluded.price_count
    RETURNING 1
)

SELECT count(*) FROM taken;
