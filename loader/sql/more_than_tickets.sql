-- Whether more chunks are to be done than there are tickets of one batch.
SELECT count(*) > %(tickets_max)s FROM (SELECT FROM planned_chunks LIMIT %(tickets_max)s + 1) AS some_of_them;
