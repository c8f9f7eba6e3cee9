-- The row that takes a batch out of the answers.
UPDATE batches SET
state = 'withdrawn',
ended_at = clock_timestamp(),
withdrawn_by = coalesce(withdrawn_by, %(done_by)s),
replaced_by = %(replaced_by)s
WHERE batch_no = %(batch_no)s;
