-- A try that was cut short for no fault of the chunk's counts as none.
UPDATE planned_chunks SET attempts = greatest(attempts - 1, 0)
WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
