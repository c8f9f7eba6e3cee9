-- The newest batches, or the one of this id or key. What is still loading is counted from its chunks.
SELECT
    batch_no, id, key, encode(content_hash, 'hex') AS content_hash, source, state, error_count, created_by,
    created_at, ended_at, withdrawn_by,
    CASE WHEN state = 'loading' THEN done.row_count ELSE batches.row_count END AS row_count,
    CASE WHEN state = 'loading' THEN done.chunk_count ELSE batches.chunk_count END AS chunk_count
FROM batches,
    LATERAL (
        SELECT coalesce(sum(chunks.row_count), 0)::bigint AS row_count, count(*) AS chunk_count
        FROM chunks WHERE chunks.batch_no = batches.batch_no
    ) AS done
WHERE %(name)s::text IS NULL OR id::text = %(name)s OR key = %(name)s
ORDER BY created_at DESC, batch_no DESC LIMIT %(limit)s;
