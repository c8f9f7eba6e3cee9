-- What the last try of a chunk ended with.
UPDATE planned_chunks SET failure = %(failure)s WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
