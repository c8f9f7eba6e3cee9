-- Who was to be told of a batch's outcomes, and how far that is.
SELECT outcome, created_at, attempts, answer, told_at, given_up_at, next_try_at
FROM callbacks WHERE batch_id = %(batch_id)s ORDER BY created_at;
