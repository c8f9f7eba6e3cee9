-- Batches that were given up and can be gone on with: of one whose key was another's, nothing was planned.
SELECT
    batch_no, id, key, content_hash, state, chunk_rows, row_count, error_count, withdrawn_by, dry_run, adds,
    replaces
FROM batches
WHERE
    state = 'failed' AND withdrawn_by IS NULL
    AND EXISTS (SELECT FROM plans WHERE plans.batch_no = batches.batch_no)
ORDER BY batch_no;
