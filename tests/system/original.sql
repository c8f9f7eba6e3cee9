-- What the service that this project replaces answers, from the tables as they were dumped: every calendar day,
-- newest first; the mean of its prices, null below three of them; their number, null for none. A code that is
-- no port is a region's slug and means every port below it, at whatever depth.
WITH RECURSIVE below (top, slug) AS (
    SELECT slug, slug FROM regions
    UNION ALL
    SELECT below.top, regions.slug FROM below JOIN regions ON regions.parent_slug = below.slug
),

places (place, code) AS (
    SELECT code, code FROM ports
    UNION ALL
    SELECT below.top, ports.code FROM below JOIN ports ON ports.parent_slug = below.slug
)

SELECT
    days.day::date,
    CASE WHEN count(found.price) >= 3 THEN avg(found.price)::float8 END,
    nullif(count(found.price), 0)
FROM generate_series(%(date_to)s::date, %(date_from)s::date, interval '-1 day') AS days (day)
LEFT JOIN (
    SELECT prices.day, prices.price FROM prices
    WHERE
        prices.orig_code IN (SELECT code FROM places WHERE place = %(orig_code)s)
        AND prices.dest_code IN (SELECT code FROM places WHERE place = %(dest_code)s)
) AS found ON found.day = days.day::date
GROUP BY days.day ORDER BY days.day DESC;
