-- Counts one more try of a chunk that this session has claimed, and tells all there is to know of it. No row comes
-- back where it was done before it was claimed.
UPDATE planned_chunks SET attempts = planned_chunks.attempts + 1
FROM batches, plans
WHERE
    planned_chunks.batch_no = %(batch_no)s AND planned_chunks.chunk_no = %(chunk_no)s
    AND batches.batch_no = planned_chunks.batch_no AND batches.state = 'loading' AND batches.withdrawn_by IS NULL
    AND plans.batch_no = planned_chunks.batch_no
RETURNING
    batches.id, batches.key, batches.content_hash, batches.state, batches.chunk_rows, batches.row_count,
    batches.error_count, batches.withdrawn_by, batches.dry_run, batches.adds, batches.replaces, batches.request_id,
    planned_chunks.first_line, planned_chunks.begin_byte, planned_chunks.end_byte, planned_chunks.object_key, planned_chunks.attempts,
    planned_chunks.failure, plans.content;
