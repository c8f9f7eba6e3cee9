-- The first faults of a batch, in the order of its lines.
SELECT file, line, "column", value, reason FROM batch_errors
WHERE batch_no = %(batch_no)s ORDER BY chunk_no, error_no LIMIT %(limit)s;
