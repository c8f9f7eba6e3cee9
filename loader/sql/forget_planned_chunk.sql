-- A chunk that is in is no longer to be done. One that was not put in, since its batch was given up meanwhile, is.
DELETE FROM planned_chunks
WHERE
    batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s
    AND EXISTS (SELECT FROM chunks WHERE chunks.batch_no = %(batch_no)s AND chunks.chunk_no = %(chunk_no)s);
