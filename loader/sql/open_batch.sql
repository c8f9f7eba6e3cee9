-- Writes a batch down, unless its key is known. Waits for whoever opens the same key at this moment.
INSERT INTO batches (id, key, content_hash, source, chunk_rows)
VALUES (%(id)s, %(key)s, %(content_hash)s, %(source)s, %(chunk_rows)s)
ON CONFLICT (key) DO NOTHING;
