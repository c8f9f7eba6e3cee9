-- Something to throw away, for one of those who do; not while deltas of the same number still count.
SELECT batch_no, chunk_count FROM discards
WHERE batch_no NOT IN (SELECT posting_no FROM postings)
ORDER BY batch_no LIMIT 1 FOR UPDATE SKIP LOCKED;
