-- A batch's faults in the order of its lines, those that follow one of them.
SELECT chunk_no, error_no, file, line, "column", value, reason FROM batch_errors
WHERE batch_no = %(batch_no)s AND (chunk_no, error_no) > (%(chunk_no)s, %(error_no)s)
ORDER BY chunk_no, error_no LIMIT %(limit)s;
