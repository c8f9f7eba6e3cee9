-- And each of its chunks that is still to be done.
UPDATE planned_chunks SET attempts = 0, failure = NULL WHERE batch_no = %(batch_no)s RETURNING chunk_no;
