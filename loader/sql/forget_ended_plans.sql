-- What is left of plans whose batch nobody goes on with, since whoever was at it wrote on after its end; tells how
-- many chunks that were.
WITH over AS (
    SELECT left_over.batch_no
    FROM (SELECT batch_no FROM plans UNION SELECT batch_no FROM planned_chunks) AS left_over
    LEFT JOIN batches USING (batch_no)
    WHERE batches.state IS NULL OR batches.state NOT IN ('loading', 'failed')
),

forgotten AS (DELETE FROM plans WHERE batch_no IN (SELECT over.batch_no FROM over))

DELETE FROM planned_chunks WHERE batch_no IN (SELECT over.batch_no FROM over);
