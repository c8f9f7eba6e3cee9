-- The next chunk that nobody is at, for this session until it says otherwise or ends: by deadline, then by how far a
-- batch has come, which the number of its next chunk says. A fair pick goes by that alone.
-- Those that others are at are passed over as they are met; 200 are more than there are slots in any stack.
WITH next_ones AS MATERIALIZED (
    SELECT planned.batch_no, planned.chunk_no
    FROM batches
    CROSS JOIN LATERAL (
        SELECT planned_chunks.batch_no, planned_chunks.chunk_no FROM planned_chunks
        WHERE planned_chunks.batch_no = batches.batch_no
        ORDER BY planned_chunks.chunk_no LIMIT 200
    ) AS planned
    WHERE batches.state = 'loading' AND batches.withdrawn_by IS NULL
    ORDER BY
        CASE WHEN NOT %(fair)s THEN batches.deadline END ASC NULLS LAST, planned.chunk_no ASC, planned.batch_no ASC
    LIMIT 200
)

SELECT batch_no, chunk_no FROM next_ones WHERE pg_try_advisory_lock(batch_no, chunk_no) LIMIT 1;
