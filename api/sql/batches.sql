-- The newest batches, older than the one of a number, and in a state, where these are given.
SELECT
    batch_no, id, key, content_hash, source, state, row_count, error_count, created_by,
    created_at, ended_at, dry_run, deadline, late_since, failure, request_id, chunk_count, chunks_planned, share,
    rows_per_second, expected_end, accepted_at, replaces, replaced_by,
    extract(EPOCH FROM coalesce(ended_at, clock_timestamp()) - created_at)::double precision AS seconds
FROM batch_status
INNER JOIN (
    SELECT batches.batch_no, batches.accepted_at, batches.replaces, batches.replaced_by FROM batches
) AS sent USING (batch_no)
WHERE
    batch_no < coalesce(%(before)s::bigint, 2147483648)
    AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY batch_no DESC LIMIT %(limit)s;
