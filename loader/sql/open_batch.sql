-- Writes a batch down, unless its key is known. Waits for whoever opens the same one at this moment, whichever of
-- key and id is found taken: were one of them named as the target, the other would be an error.
INSERT INTO batches (
    id, key, content_hash, source, chunk_rows, created_by, deadline, dry_run, callback_url, request_id,
    accepted_at, adds, replaces
)
VALUES (
    %(id)s, %(key)s, %(content_hash)s, %(source)s, %(chunk_rows)s, %(created_by)s, %(deadline)s, %(dry_run)s,
    %(callback_url)s, %(request_id)s, %(accepted_at)s, %(adds)s, %(replaces)s
)
ON CONFLICT DO NOTHING RETURNING id;
