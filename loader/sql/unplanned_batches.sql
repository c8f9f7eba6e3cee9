-- Batches whose plan is begun and not complete, whether or not somebody is at it.
SELECT batches.id
FROM plans INNER JOIN batches USING (batch_no)
WHERE NOT plans.complete AND batches.state = 'loading' AND batches.withdrawn_by IS NULL
ORDER BY batches.batch_no;
