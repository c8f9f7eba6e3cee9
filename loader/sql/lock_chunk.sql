-- Takes a chunk for one of those who are at its batch. First in the queue behind whoever wants to take the batch
-- back, since those who only share a row's lock would go on overtaking them.
SELECT pg_advisory_xact_lock_shared(%(batch_no)s, -1), pg_try_advisory_xact_lock(%(batch_no)s, %(chunk_no)s);
