-- Writes a batch down, unless its key is known. Waits for whoever opens the same key at this moment.
INSERT INTO batches (id, key, content_hash, source, chunk_rows, created_by)
VALUES (%(id)s, %(key)s, %(content_hash)s, %(source)s, %(chunk_rows)s, %(done_by)s)
ON CONFLICT (key) DO NOTHING RETURNING id;
