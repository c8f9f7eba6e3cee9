-- Published batches that came as dumps and have prices, but for one.
SELECT id, source, row_count FROM batches
WHERE state = 'published' AND from_dump AND row_count > 0 AND batch_no IS DISTINCT FROM %(batch_no)s
ORDER BY batch_no;
