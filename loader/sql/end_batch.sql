-- The one row that publishes or rejects a batch.
UPDATE batches SET
state = %(state)s,
row_count = %(row_count)s,
chunk_count = %(chunk_count)s,
error_count = %(error_count)s,
ended_at = clock_timestamp()
WHERE batch_no = %(batch_no)s;
