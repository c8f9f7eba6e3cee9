-- Sum and count of the prices a day between two places, newest day first, days without prices left out.
-- A code that is a port is a port; any other is a region's slug and means every port below it; one that is
-- neither has no ports. Base and deltas are read in one statement, so that a batch that is being published or
-- folded counts whole or not at all, and once.
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

totals AS (
    SELECT base.day, base.price_sum, base.price_count
    FROM orig, dest, lane_day_totals AS base
    WHERE
        base.orig_code = orig.port_code AND base.dest_code = dest.port_code
        AND base.day BETWEEN %(date_from)s AND %(date_to)s
    UNION ALL
    SELECT delta.day, delta.price_sum, delta.price_count
    FROM orig, dest, lane_day_deltas AS delta, batches
    WHERE
        delta.orig_code = orig.port_code AND delta.dest_code = dest.port_code
        AND delta.day BETWEEN %(date_from)s AND %(date_to)s
        AND batches.batch_no = delta.batch_no AND batches.state = 'published'
)

SELECT day, sum(price_sum)::bigint AS price_sum, sum(price_count)::bigint AS price_count
FROM totals GROUP BY day ORDER BY day DESC;
