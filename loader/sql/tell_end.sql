-- The sender who asked for it is to be told how a batch ended; of the same end again, once more.
INSERT INTO callbacks (batch_id, outcome)
SELECT id, state FROM batches WHERE batch_no = %(batch_no)s AND callback_url IS NOT NULL
ON CONFLICT (batch_id, outcome) DO UPDATE SET
created_at = clock_timestamp(),
next_try_at = clock_timestamp(),
attempts = 0,
answer = NULL,
told_at = NULL,
given_up_at = NULL;
