-- Batches that were given up.
SELECT
    batch_no, id, key, content_hash, state, chunk_rows, row_count, error_count, withdrawn_by, dry_run, adds,
    replaces
FROM batches WHERE state = 'failed' AND withdrawn_by IS NULL ORDER BY batch_no;
