-- Lets others at a chunk that this session has claimed.
SELECT pg_advisory_unlock(%(batch_no)s, %(chunk_no)s);
