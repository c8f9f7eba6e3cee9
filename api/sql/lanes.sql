-- A page of the lanes between two places that have prices, in the order of their codes, behind one of them.
-- `walk` goes from lane to lane in the indexes, over all months of one in a step: to the next destination that is asked
-- for, or to the next port of origin, where there is none. It ends at `lanes_max` lanes or, however few lead where they
-- are asked to, at `steps_max` steps; the last row then says where. Every look-up is a scalar one with LIMIT 1, which
-- has no other plan than by index. Then the months of those lanes are summed: one whose prices were all withdrawn is
-- left out. One row at least, for the version of the data, read in the same statement, and for whether there are such
-- places.
WITH RECURSIVE asked AS (
    SELECT
        %(orig_code)s::text AS orig_code,
        %(dest_code)s::text AS dest_code,
        EXISTS (SELECT FROM ports WHERE code = %(orig_code)s) AS from_port,
        EXISTS (SELECT FROM ports WHERE code = %(dest_code)s) AS to_port
),

walk (steps, lanes, orig_code, dest_code, is_lane) AS (
    SELECT 0, 0, start.code, CASE WHEN start.code = %(after_orig)s THEN %(after_dest)s ELSE '' END, false
    FROM asked CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN NOT asked.from_port THEN (
                    SELECT region_ports.port_code FROM region_ports
                    WHERE
                        region_ports.region_slug = asked.orig_code
                        AND region_ports.port_code >= coalesce(%(after_orig)s::text, '')
                    ORDER BY region_ports.port_code LIMIT 1
                )
                WHEN asked.orig_code >= coalesce(%(after_orig)s, '') THEN asked.orig_code
            END AS code
        OFFSET 0
    ) AS start
    WHERE start.code IS NOT NULL
    UNION ALL
    SELECT
        walk.steps + 1, walk.lanes + lane.is_met::integer,
        CASE WHEN found.dest_code IS NULL THEN next_port.code ELSE walk.orig_code END,
        coalesce(found.dest_code, ''), lane.is_met
    FROM walk CROSS JOIN asked
    -- The first destination that is asked for behind the last one.
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN asked.dest_code IS NULL THEN ''
                WHEN NOT asked.to_port THEN (
                    SELECT region_ports.port_code FROM region_ports
                    WHERE region_ports.region_slug = asked.dest_code AND region_ports.port_code > walk.dest_code
                    ORDER BY region_ports.port_code LIMIT 1
                )
                WHEN asked.dest_code > walk.dest_code THEN asked.dest_code
            END AS dest_code
        OFFSET 0
    ) AS wanted
    -- The first lane from there on, of what is folded and of what is only posted. Those are looked for no further than
    -- to the former, or each step would go over all that a batch which is still loading has written.
    CROSS JOIN LATERAL (
        SELECT
            (
                SELECT base.dest_code FROM lane_month_totals AS base
                WHERE
                    base.orig_code = walk.orig_code
                    AND base.dest_code > walk.dest_code AND base.dest_code >= wanted.dest_code
                ORDER BY base.dest_code LIMIT 1
            ) AS dest_code
        OFFSET 0
    ) AS folded
    CROSS JOIN LATERAL (
        SELECT
            coalesce(
                (
                    SELECT delta.dest_code FROM lane_month_deltas AS delta
                    WHERE
                        delta.orig_code = walk.orig_code
                        AND delta.dest_code > walk.dest_code AND delta.dest_code >= wanted.dest_code
                        AND delta.dest_code <= coalesce(folded.dest_code, (
                            SELECT last.dest_code FROM lane_month_deltas AS last
                            WHERE last.orig_code = walk.orig_code ORDER BY last.dest_code DESC LIMIT 1
                        ))
                        AND delta.posting_no = ANY(ARRAY(SELECT posting_no FROM postings))
                    ORDER BY delta.dest_code LIMIT 1
                ),
                folded.dest_code
            ) AS dest_code
        OFFSET 0
    ) AS found
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN found.dest_code IS NULL THEN false
                WHEN asked.dest_code IS NULL OR found.dest_code = wanted.dest_code THEN true
                WHEN asked.to_port THEN false
                ELSE (
                    SELECT true FROM region_ports
                    WHERE region_ports.region_slug = asked.dest_code AND region_ports.port_code = found.dest_code
                    LIMIT 1
                ) IS NOT NULL
            END AS is_met
        OFFSET 0
    ) AS lane
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN found.dest_code IS NULL AND NOT asked.from_port THEN (
                SELECT region_ports.port_code FROM region_ports
                WHERE region_ports.region_slug = asked.orig_code AND region_ports.port_code > walk.orig_code
                ORDER BY region_ports.port_code LIMIT 1
            ) END AS code
        OFFSET 0
    ) AS next_port
    WHERE
        walk.steps < %(steps_max)s AND walk.lanes < %(lanes_max)s
        AND (found.dest_code IS NOT NULL OR next_port.code IS NOT NULL)
),

page AS (
    SELECT walk.orig_code, walk.dest_code, lane.first_month, lane.last_month, lane.months, lane.prices
    FROM walk CROSS JOIN LATERAL (
        SELECT
            min(by_month.month) AS first_month, max(by_month.month) AS last_month,
            count(*) AS months, sum(by_month.prices)::bigint AS prices
        FROM (
            SELECT found.month, sum(found.prices) AS prices
            FROM (
                SELECT base.month, (SELECT sum(price_count) FROM (SELECT unnest(base.price_counts) AS price_count) AS of_day) AS prices
                FROM lane_month_totals AS base
                WHERE base.orig_code = walk.orig_code AND base.dest_code = walk.dest_code
                UNION ALL
                SELECT delta.month, (SELECT sum(price_count) FROM (SELECT unnest(delta.price_counts) AS price_count) AS of_day) AS prices
                FROM lane_month_deltas AS delta
                WHERE
                    delta.orig_code = walk.orig_code AND delta.dest_code = walk.dest_code
                    AND delta.posting_no = ANY(ARRAY(SELECT posting_no FROM postings))
            ) AS found
            GROUP BY found.month HAVING sum(found.prices) > 0
        ) AS by_month
    ) AS lane
    WHERE walk.is_lane AND lane.months > 0
)

SELECT
    data_version.version,
    data_version.changed_at,
    asked.from_port OR EXISTS (SELECT FROM regions WHERE slug = asked.orig_code) AS orig_found,
    asked.dest_code IS NULL OR asked.to_port
    OR EXISTS (SELECT FROM regions WHERE slug = asked.dest_code) AS dest_found,
    cut.orig_code AS cut_orig_code,
    cut.dest_code AS cut_dest_code,
    page.orig_code,
    page.dest_code,
    to_char(page.first_month, 'YYYY-MM') AS first_month,
    to_char(page.last_month, 'YYYY-MM') AS last_month,
    page.months,
    page.prices
FROM data_version CROSS JOIN asked
LEFT JOIN walk AS cut ON cut.steps = %(steps_max)s OR cut.lanes = %(lanes_max)s AND cut.is_lane
LEFT JOIN page ON true
ORDER BY page.orig_code, page.dest_code;
