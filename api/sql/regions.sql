-- A page of the regions, all, those right below one, or those below none ('' for their parent), in the order of their
-- slugs, behind one of them: those of which every word of a search is in the name or begins the slug. One row at
-- least, for the version of the data, read in the same statement, and for whether there is such a parent.
WITH asked AS (
    SELECT ARRAY(SELECT fold_name(word) FROM unnest(%(words)s::text[]) AS word) AS words
),

page AS MATERIALIZED (
    SELECT regions.slug, regions.name, regions.parent_slug
    FROM regions
    WHERE
        regions.slug > %(after)s
        AND (%(parent)s::text IS NULL OR coalesce(regions.parent_slug, '') = %(parent)s)
        AND regions.search LIKE ALL(ARRAY(SELECT '%%' || word || '%%' FROM asked, unnest(asked.words) AS word))
        AND (
            SELECT bool_and(
                strpos(split_part(regions.search, ' ', 1), word) > 0
                OR starts_with(split_part(regions.search, ' ', 2), word)
            ) FROM asked, unnest(asked.words) AS word
        ) IS NOT false
    ORDER BY regions.slug LIMIT %(limit)s
)

SELECT
    data_version.version,
    data_version.changed_at,
    coalesce(%(parent)s::text, '') = '' OR EXISTS (SELECT FROM regions WHERE slug = %(parent)s) AS parent_found,
    page.slug,
    page.name,
    page.parent_slug AS parent,
    (SELECT count(*) FROM region_ports WHERE region_ports.region_slug = page.slug) AS ports
FROM data_version LEFT JOIN page ON true
ORDER BY page.slug;
