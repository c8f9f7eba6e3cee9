-- What of a batch is in already.
SELECT chunk_no, content_hash, error_count FROM chunks WHERE batch_no = %(batch_no)s;
