-- Holds the kinds of a batch's faults against other chunks, which add theirs too, until this one is in.
SELECT pg_advisory_xact_lock(%(batch_no)s, -3);
