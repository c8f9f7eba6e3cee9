-- The totals of one lane, port to port, as they lie: a row a month of the base and of each published delta. One row
-- at least, for its label: the version of the data, read in the same statement, and whether the codes are ports.
-- $1 orig_code, $2 dest_code, $3 first month, $4 last month.
SELECT
    int8send(data_version.version) || timestamptz_send(data_version.changed_at)
    || boolsend(EXISTS (SELECT FROM ports WHERE code = $1))
    || boolsend(EXISTS (SELECT FROM ports WHERE code = $2)) AS label,
    found.month AS first_day,
    found.days,
    found.price_sums,
    found.price_counts
FROM data_version
LEFT JOIN (
    SELECT base.month, base.days, base.price_sums, base.price_counts
    FROM lane_month_totals AS base
    WHERE base.orig_code = $1 AND base.dest_code = $2 AND base.month BETWEEN $3 AND $4
    UNION ALL
    SELECT delta.month, delta.days, delta.price_sums, delta.price_counts
    FROM lane_month_deltas AS delta
    WHERE
        delta.orig_code = $1 AND delta.dest_code = $2 AND delta.month BETWEEN $3 AND $4
        AND delta.posting_no = ANY(ARRAY(SELECT posting_no FROM postings))
) AS found ON true;
