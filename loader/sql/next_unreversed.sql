-- A chunk whose reversal is still to be written, for one of those who write it.
UPDATE chunks SET reversed = true WHERE (batch_no, chunk_no) = (
    SELECT batch_no, chunk_no FROM chunks
    WHERE batch_no = %(batch_no)s AND NOT reversed
    ORDER BY chunk_no LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING chunk_no;
