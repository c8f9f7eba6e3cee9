-- What the service that this project replaces asks for each answer, of the table as it was dumped: every calendar
-- day, newest first, with the mean and the number of its prices.
SELECT
    days.day::date,
    CASE WHEN found.price_count >= 3 THEN found.price END,
    found.price_count
FROM generate_series(%(date_from)s::date, %(date_to)s::date, interval '1 day') AS days (day)
LEFT JOIN (
    SELECT prices.day, avg(prices.price)::float8 AS price, count(*) AS price_count
    FROM prices
    WHERE
        prices.orig_code = %(orig_code)s AND prices.dest_code = %(dest_code)s
        AND prices.day BETWEEN %(date_from)s AND %(date_to)s
    GROUP BY prices.day
) AS found ON found.day = days.day::date
ORDER BY days.day DESC;
