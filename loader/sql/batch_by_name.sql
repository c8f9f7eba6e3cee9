-- The batch of an id or key.
SELECT
    batch_no, id, key, content_hash, state, chunk_rows, row_count, error_count, withdrawn_by, dry_run, adds,
    replaces
FROM batches WHERE id::text = %(name)s OR key = %(name)s ORDER BY id::text = %(name)s DESC LIMIT 1;
