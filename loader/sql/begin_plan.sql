-- Counts one more try to plan a batch; no row comes back where nobody goes on with it.
WITH held AS (
    SELECT batch_no FROM batches
    WHERE batch_no = %(batch_no)s AND state = 'loading' AND withdrawn_by IS NULL FOR SHARE
)

INSERT INTO plans (batch_no, content, attempts)
SELECT held.batch_no, %(content)s::jsonb, 1 FROM held
ON CONFLICT (batch_no) DO UPDATE SET content = excluded.content, attempts = plans.attempts + 1
RETURNING content, attempts, complete, chunk_count, next_byte, next_line;
