-- The rows of a chunk that no longer counts.
DELETE FROM prices WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
