-- Writes a batch down, unless its key is known. Waits for whoever opens the same key at this moment.
INSERT INTO batches (
    id, key, content_hash, source, chunk_rows, created_by, deadline, dry_run, callback_url, request_id
)
VALUES (
    %(id)s, %(key)s, %(content_hash)s, %(source)s, %(chunk_rows)s, %(created_by)s, %(deadline)s, %(dry_run)s,
    %(callback_url)s, %(request_id)s
)
ON CONFLICT (key) DO NOTHING RETURNING id;
