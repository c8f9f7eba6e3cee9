-- The one row that ends a batch.
UPDATE batches SET
state = %(state)s,
row_count = %(row_count)s,
chunk_count = %(chunk_count)s,
error_count = %(error_count)s,
failure = %(failure)s,
from_dump = %(from_dump)s,
prices_sum = %(prices_sum)s,
ended_at = clock_timestamp()
WHERE batch_no = %(batch_no)s;
