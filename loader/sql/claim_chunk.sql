-- Holds a batch's state still while a chunk of it is done, which many may at once. Tells what of the chunk is in:
-- asked once the chunk is locked, so that it knows of what the one before did.
SELECT
    state,
    withdrawn_by IS NOT NULL AS withdrawn,
    (
        SELECT chunks.content_hash FROM chunks
        WHERE chunks.batch_no = batches.batch_no AND chunks.chunk_no = %(chunk_no)s
    ) AS content_hash
FROM batches WHERE batch_no = %(batch_no)s FOR SHARE;
