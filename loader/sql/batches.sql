-- The newest batches, or the one of this id or key; the id goes first where it is another's key.
SELECT
    batch_no, id, key, content_hash, source, state, row_count, chunk_count, error_count, created_by, created_at,
    ended_at, withdrawn_by, deadline, late_since, dry_run, callback_url, failure, request_id, chunks_planned,
    planned, share, rows_per_second, expected_end, replaces, replaced_by
FROM batch_status
INNER JOIN (SELECT batches.batch_no, batches.replaces, batches.replaced_by FROM batches) AS places USING (batch_no)
WHERE %(name)s::text IS NULL OR id = %(id)s::uuid OR key = %(name)s
ORDER BY id = %(id)s::uuid DESC, created_at DESC, batch_no DESC LIMIT %(limit)s;
