-- Batches of which all that was planned is done, and whose end nobody has decided.
SELECT
    batches.batch_no, batches.id, batches.key, batches.content_hash, batches.state, batches.chunk_rows,
    batches.row_count, batches.error_count, batches.withdrawn_by, batches.dry_run,
    batches.adds, batches.replaces
FROM plans INNER JOIN batches USING (batch_no)
WHERE
    plans.complete AND batches.state = 'loading' AND batches.withdrawn_by IS NULL
    AND NOT EXISTS (SELECT FROM planned_chunks WHERE planned_chunks.batch_no = plans.batch_no)
ORDER BY batches.batch_no;
