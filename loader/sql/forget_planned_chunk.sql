-- A chunk that is in is no longer to be done.
DELETE FROM planned_chunks WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
