-- Batches that are to be taken back and still count.
SELECT
    batch_no, id, key, content_hash, state, chunk_rows, row_count, error_count, withdrawn_by, dry_run, adds,
    replaces
FROM batches WHERE withdrawn_by IS NOT NULL AND state IN ('loading', 'published', 'failed') ORDER BY batch_no;
