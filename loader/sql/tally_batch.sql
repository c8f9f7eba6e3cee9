-- What a batch's ledger adds up to, with the batch held against chunks and other publishers.
SELECT
    batches.state,
    batches.withdrawn_by IS NOT NULL AS withdrawn,
    (SELECT count(*) FROM chunks WHERE chunks.batch_no = batches.batch_no) AS chunk_count,
    (SELECT coalesce(sum(row_count), 0) FROM chunks WHERE chunks.batch_no = batches.batch_no)::bigint AS row_count,
    (SELECT coalesce(sum(error_count), 0) FROM chunks WHERE chunks.batch_no = batches.batch_no)::bigint AS error_count,
    (
        SELECT coalesce(sum(prices_sum), 0) FROM chunks WHERE chunks.batch_no = batches.batch_no
        HAVING count(*) FILTER (WHERE prices_sum IS NULL AND error_count = 0) = 0
    ) AS prices_sum, -- not known where a release of before has written a chunk
    batches.source
FROM batches WHERE batch_no = %(batch_no)s FOR NO KEY UPDATE;
