-- Says that a batch is to be taken back, and by whom: from then on it gets no further chunk and is not published,
-- and every worker may go on with it. No row comes back where there is nothing to take back any more.
UPDATE batches SET withdrawn_by = coalesce(withdrawn_by, %(done_by)s)
WHERE batch_no = %(batch_no)s AND state NOT IN ('rejected', 'valid') RETURNING batch_no;
