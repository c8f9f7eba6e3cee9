-- Said in every transaction that changes an answer.
UPDATE data_version SET version = version + 1, changed_at = clock_timestamp();
