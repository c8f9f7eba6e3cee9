-- Whether this session is the one that sweeps, until it ends.
SELECT pg_try_advisory_lock(0, 1);
