-- Lets others plan a batch.
SELECT pg_advisory_unlock(%(batch_no)s, -2);
