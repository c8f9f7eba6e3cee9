-- Holds a batch's state still while a chunk of it is done, which many may at once, and the chunk itself for one
-- of them. Tells what of the chunk is in already.
SELECT
    batches.state,
    pg_try_advisory_xact_lock(%(batch_no)s, %(chunk_no)s) AS claimed,
    (
        SELECT chunks.content_hash FROM chunks
        WHERE chunks.batch_no = batches.batch_no AND chunks.chunk_no = %(chunk_no)s
    ) AS content_hash
FROM batches WHERE batch_no = %(batch_no)s FOR SHARE;
