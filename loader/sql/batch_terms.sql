-- What a batch was sent with, and when last.
SELECT
    source, deadline, callback_url, adds, object_etag, coalesce(accepted_at, ended_at, created_at) AS known_at,
    (SELECT replaced.key FROM batches AS replaced WHERE replaced.id = batches.replaces) AS replaces_key, replaces
FROM batches WHERE batch_no = %(batch_no)s;
