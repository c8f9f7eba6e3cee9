-- The batch of a key.
SELECT
    batch_no, id, key, content_hash, state, chunk_rows, row_count, error_count, withdrawn_by, dry_run, adds,
    replaces
FROM batches WHERE key = %(key)s;
