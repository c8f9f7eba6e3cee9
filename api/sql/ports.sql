-- A page of the ports, all or those below a region, in the order of their codes, behind one of them: those of which
-- every word of a search is in the name or begins the code. One row at least, for the version of the data, read in the
-- same statement, and for whether there is such a region.
WITH RECURSIVE asked AS (
    SELECT ARRAY(SELECT fold_name(word) FROM unnest(%(words)s::text[]) AS word) AS words
),

page AS MATERIALIZED (
    SELECT place.code, place.name, place.parent_slug
    FROM (
        (
            SELECT ports.code, ports.name, ports.parent_slug, ports.search FROM ports
            WHERE %(region)s::text IS NULL AND ports.code > %(after)s
            ORDER BY ports.code
        )
        UNION ALL
        (
            SELECT region_ports.port_code, ports.name, ports.parent_slug, ports.search
            FROM region_ports INNER JOIN ports ON ports.code = region_ports.port_code
            WHERE region_ports.region_slug = %(region)s AND region_ports.port_code > %(after)s
            ORDER BY region_ports.port_code
        )
    ) AS place
    -- Most are out by the first of these, which costs a tenth of the second.
    WHERE
        place.search LIKE ALL(ARRAY(SELECT '%%' || word || '%%' FROM asked, unnest(asked.words) AS word))
        AND (
            SELECT bool_and(
                strpos(split_part(place.search, ' ', 1), word) > 0
                OR starts_with(split_part(place.search, ' ', 2), word)
            ) FROM asked, unnest(asked.words) AS word
        ) IS NOT false
    ORDER BY place.code LIMIT %(limit)s
),

-- The regions above a port's own one. A region that is above itself, which nothing forbids, ends it.
above (slug, regions, parent_slug) AS (
    SELECT regions.slug, ARRAY[regions.slug], regions.parent_slug
    FROM regions WHERE regions.slug IN (SELECT page.parent_slug FROM page)
    UNION ALL
    SELECT above.slug, above.regions || regions.slug, regions.parent_slug
    FROM above INNER JOIN regions ON regions.slug = above.parent_slug
    WHERE regions.slug <> ALL(above.regions)
),

up AS (
    SELECT DISTINCT ON (above.slug) above.slug, above.regions
    FROM above ORDER BY above.slug ASC, cardinality(above.regions) DESC
)

SELECT
    data_version.version,
    data_version.changed_at,
    %(region)s::text IS NULL OR EXISTS (SELECT FROM regions WHERE slug = %(region)s) AS region_found,
    page.code,
    page.name,
    page.parent_slug AS region,
    up.regions
FROM data_version
LEFT JOIN page ON true
LEFT JOIN up ON up.slug = page.parent_slug
ORDER BY page.code;
