-- The batch of an id.
SELECT
    batch_no, id, key, content_hash, source, state, row_count, error_count, created_by,
    created_at, ended_at, dry_run, deadline, late_since, failure, request_id, chunk_count, chunks_planned, share,
    rows_per_second, expected_end,
    extract(EPOCH FROM coalesce(ended_at, clock_timestamp()) - created_at)::double precision AS seconds
FROM batch_status
WHERE id = %(id)s;
