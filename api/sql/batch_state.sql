-- The state of the batch of an id, or of a key, whichever is known.
SELECT state FROM batches WHERE id = %(id)s
UNION ALL
SELECT state FROM batches WHERE key = %(key)s AND id != %(id)s;
