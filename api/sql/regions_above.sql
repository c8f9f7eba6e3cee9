-- The regions above a place, the nearest first and the top of the tree last; a code that is a port is a port. Where a
-- region is above itself by fault, the way up ends before it comes round.
-- $1 code.
WITH RECURSIVE above AS (
    SELECT asked.level, asked.slug
    FROM (
        SELECT 1 AS level, parent_slug AS slug
        FROM ports
        WHERE code = $1
        UNION ALL
        SELECT 0 AS level, slug
        FROM regions
        WHERE slug = $1 AND NOT EXISTS (SELECT FROM ports WHERE code = $1)
    ) AS asked
    UNION ALL
    SELECT above.level + 1, regions.parent_slug
    FROM above
    JOIN regions USING (slug)
    WHERE regions.parent_slug IS NOT NULL
) CYCLE slug SET is_met_again USING path

SELECT slug
FROM above
WHERE level > 0 AND NOT is_met_again
ORDER BY level;
