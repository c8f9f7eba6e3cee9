-- The token that a batch was sent with over HTTP; no row comes back of any other.
SELECT created_by FROM batches WHERE id = %(id)s AND request_id IS NOT NULL;
