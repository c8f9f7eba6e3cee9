-- What the content of a chunk that is in hashes to.
SELECT content_hash FROM chunks WHERE batch_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
