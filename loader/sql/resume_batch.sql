-- A batch that was given up is loading again; one that is loading stays as it is.
UPDATE batches SET state = 'loading', failure = NULL, ended_at = NULL
WHERE batch_no = %(batch_no)s AND state = 'failed';
