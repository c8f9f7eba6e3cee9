-- How long writing a chunk took, said at its end.
UPDATE chunks SET write_seconds = %(write_seconds)s WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
