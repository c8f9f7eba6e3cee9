-- Moves the deltas of some lanes and months into the base, in one statement, so that no reader sees them twice or
-- not at all. In the order of the lanes, so that all deltas of a lane and month are folded at once and two of
-- these cannot deadlock; they pass over what the other holds. Begins at a lane and month, and tells where it came
-- to. What a reversal takes back may be folded first: until the rest is, a count of none may have a sum.
WITH taken AS (
    DELETE FROM lane_month_deltas WHERE ctid = ANY(ARRAY(
        SELECT lane_month_deltas.ctid FROM lane_month_deltas
        WHERE
            (orig_code, dest_code, month) >= (%(orig_code)s, %(dest_code)s, %(month)s)
            AND posting_no = ANY(ARRAY(SELECT posting_no FROM postings WHERE folding))
        ORDER BY orig_code, dest_code, month LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    ))
    RETURNING orig_code, dest_code, month, days, price_sums, price_counts
),

by_day AS (
    SELECT
        orig_code, dest_code, month, of_day.day,
        sum(of_day.price_sum)::bigint AS price_sum, sum(of_day.price_count)::integer AS price_count
    FROM taken, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count)
    GROUP BY orig_code, dest_code, month, of_day.day
    HAVING (sum(of_day.price_sum), sum(of_day.price_count)) <> (0, 0)
),

folded AS (
    INSERT INTO lane_month_totals AS base (orig_code, dest_code, month, days, price_sums, price_counts)
    SELECT
        orig_code, dest_code, month,
        array_agg(day ORDER BY day), array_agg(price_sum ORDER BY day), array_agg(price_count ORDER BY day)
    FROM by_day GROUP BY orig_code, dest_code, month ORDER BY orig_code, dest_code, month
    ON CONFLICT (orig_code, dest_code, month) DO UPDATE SET
    (days, price_sums, price_counts) = (
        SELECT
            coalesce(array_agg(day ORDER BY day), '{}'),
            coalesce(array_agg(price_sum ORDER BY day), '{}'),
            coalesce(array_agg(price_count ORDER BY day), '{}')
        FROM (
            SELECT day, sum(price_sum)::bigint AS price_sum, sum(price_count)::integer AS price_count
            FROM (
                SELECT * FROM unnest(base.days, base.price_sums, base.price_counts)
                UNION ALL
                SELECT * FROM unnest(excluded.days, excluded.price_sums, excluded.price_counts)
            ) AS both_sides (day, price_sum, price_count)
            GROUP BY day HAVING (sum(price_sum), sum(price_count)) <> (0, 0)
        ) AS added
    )
    RETURNING days
)

SELECT
    (SELECT count(*) FROM taken) AS delta_count,
    EXISTS (SELECT FROM folded WHERE days = '{}') AS emptied,
    last.orig_code, last.dest_code, last.month
FROM (SELECT FROM (VALUES (1)) AS one) AS always
LEFT JOIN (SELECT orig_code, dest_code, month FROM taken ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1) AS last ON true;
