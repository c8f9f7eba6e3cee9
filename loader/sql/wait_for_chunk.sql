-- Waits until nobody else is doing this chunk.
SELECT pg_advisory_xact_lock(%(batch_no)s, %(chunk_no)s);
