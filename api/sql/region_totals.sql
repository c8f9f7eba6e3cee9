-- The totals between two places of which one at least is no port, summed over all ports of both: one row, as in
-- `lane_totals`, whose days are counted from the first one asked for.
-- A code that is a port is a port; any other is a region's slug and means every port below it; one that is neither
-- has no ports. Base and deltas are read in one statement, so that a batch that is being published, folded or
-- withdrawn counts whole or not at all, and once. A day whose prices were all withdrawn has none.
-- $1 orig_code, $2 dest_code, $3 first day, $4 last day, $5 whether both codes are slugs, though a port may be called
-- the same.
WITH orig AS (
    SELECT code AS port_code FROM ports WHERE code = $1 AND NOT $5
    UNION ALL
    SELECT port_code FROM region_ports
    WHERE region_slug = $1 AND ($5 OR NOT EXISTS (SELECT FROM ports WHERE code = $1))
),

dest AS (
    SELECT code AS port_code FROM ports WHERE code = $2 AND NOT $5
    UNION ALL
    SELECT port_code FROM region_ports
    WHERE region_slug = $2 AND ($5 OR NOT EXISTS (SELECT FROM ports WHERE code = $2))
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
            AND base.month BETWEEN date_trunc('month', $3::timestamp)::date AND $4
        OFFSET 0
    ) AS found
    UNION ALL
    SELECT found.month, found.days, found.price_sums, found.price_counts
    FROM orig, dest, LATERAL (
        SELECT delta.month, delta.days, delta.price_sums, delta.price_counts
        FROM lane_month_deltas AS delta
        WHERE
            delta.orig_code = orig.port_code AND delta.dest_code = dest.port_code
            AND delta.month BETWEEN date_trunc('month', $3::timestamp)::date AND $4
            AND delta.posting_no = ANY(ARRAY(SELECT posting_no FROM postings))
        OFFSET 0
    ) AS found
),

by_day AS (
    SELECT
        totals.month + (of_day.day - 1) - $3 + 1 AS day,
        sum(of_day.price_sum)::bigint AS price_sum,
        sum(of_day.price_count)::bigint AS price_count
    FROM totals, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count)
    WHERE totals.month + (of_day.day - 1) BETWEEN $3 AND $4
    GROUP BY 1
)

SELECT
    int8send(data_version.version) || timestamptz_send(data_version.changed_at)
    || boolsend(EXISTS (SELECT FROM ports WHERE code = $1) OR EXISTS (SELECT FROM regions WHERE slug = $1))
    || boolsend(EXISTS (SELECT FROM ports WHERE code = $2) OR EXISTS (SELECT FROM regions WHERE slug = $2)) AS label,
    $3 AS first_day,
    found.days,
    found.price_sums,
    found.price_counts
FROM data_version, (
    SELECT
        array_agg(day) AS days,
        array_agg(price_sum) AS price_sums,
        array_agg(price_count) AS price_counts
    FROM by_day
) AS found;
