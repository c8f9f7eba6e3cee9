-- The batch of a key, or else of an id, and what it was sent with.
SELECT
    id, key, state, encode(content_hash, 'hex') AS sha256, source, deadline, callback_url, adds, ended_at,
    withdrawn_by IS NOT NULL AS withdrawn, created_by, request_id, replaces,
    (SELECT replaced.key FROM batches AS replaced WHERE replaced.id = batches.replaces) AS replaces_key
FROM batches WHERE key = %(key)s OR id = %(id)s ORDER BY key = %(key)s DESC LIMIT 1;
