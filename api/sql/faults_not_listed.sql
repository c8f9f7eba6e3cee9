-- How many faults of a batch were only counted. Of each chunk the first are kept, numbered from 0 on.
SELECT
    coalesce(sum(greatest(0, chunks.error_count - (
        SELECT coalesce(max(batch_errors.error_no) + 1, 0) FROM batch_errors
        WHERE batch_errors.batch_no = chunks.batch_no AND batch_errors.chunk_no = chunks.chunk_no
    ))), 0)::bigint
FROM chunks WHERE chunks.batch_no = %(batch_no)s AND chunks.error_count > 0;
