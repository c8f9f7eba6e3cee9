-- The batch of an id.
SELECT
    batch_no, id, key, content_hash, source, state, row_count, error_count, created_by,
    created_at, ended_at, dry_run, deadline, late_since, failure, request_id, chunk_count, chunks_planned, share,
    rows_per_second, expected_end, accepted_at, replaces, replaced_by,
    extract(EPOCH FROM coalesce(ended_at, clock_timestamp()) - created_at)::double precision AS seconds
FROM batch_status
INNER JOIN (
    SELECT batches.batch_no, batches.accepted_at, batches.replaces, batches.replaced_by FROM batches
) AS sent USING (batch_no)
WHERE id = %(id)s;
