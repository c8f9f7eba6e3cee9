-- The ledger's row of a chunk: no row comes back where the chunk is in already.
INSERT INTO chunks (batch_no, chunk_no, content_hash, row_count, error_count, check_seconds, prices_sum)
VALUES (%(batch_no)s, %(chunk_no)s, %(content_hash)s, %(row_count)s, %(error_count)s, %(check_seconds)s, %(prices_sum)s)
ON CONFLICT DO NOTHING
RETURNING chunk_no;
