-- One batch is published at a time: what it is held against stays as it is. Behind the batch's own row, and before
-- those of places and the version.
SELECT pg_advisory_xact_lock(0, 2);
