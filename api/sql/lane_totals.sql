-- Sum and count of the prices a day between two places, newest day first, days without prices left out.
-- A code that is a port is a port; any other is a region's slug and means every port below it; one that is
-- neither has no ports. Base and deltas are read in one statement, so that a batch that is being published,
-- folded or withdrawn counts whole or not at all, and once. A day whose prices were all withdrawn has none.
WITH orig AS (
    SELECT code AS port_code FROM ports WHERE code = %(orig_code)s
    UNION ALL
    SELECT port_code FROM region_ports
    WHERE region_slug = %(orig_code)s AND NOT EXISTS (SELECT FROM ports WHERE code = %(orig_code)s)
),

dest AS (
    SELECT code AS port_code FROM ports WHERE code = %(dest_code)s
    UNION ALL
    SELECT port_code FROM region_ports
    WHERE region_slug = %(dest_code)s AND NOT EXISTS (SELECT FROM ports WHERE code = %(dest_code)s)
),

-- Fenced by OFFSET 0, so that a lane is always given before its totals are looked up: a plan that is made while
-- there are few of them, and kept, would look through all and pick the lane out then.
totals AS (
    SELECT found.month, found.days, found.price_sums, found.price_counts
    FROM orig, dest, LATERAL (
        SELECT base.month, base.days, base.price_sums, base.price_counts
        FROM lane_month_totals AS base
        WHERE
            base.orig_code = orig.port_code AND base.dest_code = dest.port_code
            AND base.month BETWEEN date_trunc('month', %(date_from)s::timestamp)::date AND %(date_to)s
        OFFSET 0
    ) AS found
    UNION ALL
    SELECT found.month, found.days, found.price_sums, found.price_counts
    FROM orig, dest, LATERAL (
        SELECT delta.month, delta.days, delta.price_sums, delta.price_counts
        FROM lane_month_deltas AS delta
        WHERE
            delta.orig_code = orig.port_code AND delta.dest_code = dest.port_code
            AND delta.month BETWEEN date_trunc('month', %(date_from)s::timestamp)::date AND %(date_to)s
            AND delta.posting_no = ANY(ARRAY(SELECT posting_no FROM postings))
        OFFSET 0
    ) AS found
),

by_day AS (
    SELECT totals.month + (of_day.day - 1) AS day, of_day.price_sum, of_day.price_count
    FROM totals, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count)
)

SELECT day, sum(price_sum)::bigint AS price_sum, sum(price_count)::bigint AS price_count
FROM by_day WHERE day BETWEEN %(date_from)s AND %(date_to)s
GROUP BY day HAVING sum(price_count) > 0 ORDER BY day DESC;
