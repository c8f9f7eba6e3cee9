-- Finds the batch of a key, or writes it down. A rejected batch with the same content gets another try, since
-- what was wrong may have been the ports. Waits for whoever opens the same key at this moment.
INSERT INTO batches AS known (id, key, content_hash, source, chunk_rows)
VALUES (%(id)s, %(key)s, %(content_hash)s, %(source)s, %(chunk_rows)s)
ON CONFLICT (key) DO UPDATE SET
state = 'loading', chunk_rows = excluded.chunk_rows, row_count = 0, chunk_count = 0, error_count = 0, ended_at = NULL
WHERE known.state = 'rejected' AND known.content_hash = excluded.content_hash
RETURNING batch_no;
