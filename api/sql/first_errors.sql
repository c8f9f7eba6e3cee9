-- The first faults of each of some batches, in the order of its lines.
SELECT wanted.batch_no, first.file, first.line, first."column", first.value, first.reason
FROM unnest(%(batch_nos)s::integer []) AS wanted (batch_no), LATERAL (
    SELECT chunk_no, error_no, file, line, "column", value, reason FROM batch_errors
    WHERE batch_errors.batch_no = wanted.batch_no ORDER BY chunk_no, error_no LIMIT %(limit)s
) AS first
ORDER BY wanted.batch_no, first.chunk_no, first.error_no;
