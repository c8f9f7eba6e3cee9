-- Published batches of a source.
SELECT id, source, row_count FROM batches WHERE state = 'published' AND source = %(source)s ORDER BY batch_no;
