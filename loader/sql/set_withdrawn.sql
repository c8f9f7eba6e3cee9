-- The row that takes a batch out of the answers.
UPDATE batches SET state = 'withdrawn', ended_at = clock_timestamp() WHERE batch_no = %(batch_no)s;
