-- Says that a batch is to be taken back, and by whom; from then on every worker may go on with it.
UPDATE batches SET withdrawn_by = coalesce(withdrawn_by, %(done_by)s)
WHERE batch_no = %(batch_no)s RETURNING state, withdrawn_by;
