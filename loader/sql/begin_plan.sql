-- Counts one more try to plan a batch; no row comes back where nobody goes on with it. What a try before this one
-- ended with counts as long as that try does.
WITH held AS (
    SELECT batch_no FROM batches
    WHERE batch_no = %(batch_no)s AND state = 'loading' AND withdrawn_by IS NULL FOR SHARE
)

INSERT INTO plans (batch_no, content, attempts)
SELECT held.batch_no, '{}', 1 FROM held
ON CONFLICT (batch_no) DO UPDATE SET
attempts = plans.attempts + 1,
content = CASE WHEN plans.attempts = 0 THEN plans.content - 'failure' ELSE plans.content END
RETURNING
    content - 'failure' AS content, attempts, complete, chunk_count, next_byte, next_line,
    content ->> 'failure' AS failure;
