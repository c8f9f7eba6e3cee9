-- The one row that ends a batch, and who is to be told of it.
WITH ended AS (
    UPDATE batches SET
    state = %(state)s,
    row_count = %(row_count)s,
    chunk_count = %(chunk_count)s,
    error_count = %(error_count)s,
    failure = %(failure)s,
    ended_at = clock_timestamp()
    WHERE batch_no = %(batch_no)s
    RETURNING id, state, callback_url
)
INSERT INTO callbacks (batch_id, outcome)
SELECT id, state FROM ended WHERE callback_url IS NOT NULL
ON CONFLICT (batch_id, outcome) DO NOTHING;
