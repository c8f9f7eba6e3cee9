-- Waits until nobody is in a chunk of this batch, and keeps those who come out.
SELECT pg_advisory_xact_lock(%(batch_no)s, -1);
