-- The plan of a batch of which nothing is left to do, and the batch's age in seconds.
SELECT
    plans.chunk_count, plans.content, batches.request_id,
    extract(EPOCH FROM clock_timestamp() - batches.created_at)::double precision AS age_s
FROM plans INNER JOIN batches USING (batch_no)
WHERE
    plans.batch_no = %(batch_no)s AND plans.complete AND batches.state = 'loading'
    AND NOT EXISTS (SELECT FROM planned_chunks WHERE planned_chunks.batch_no = plans.batch_no);
