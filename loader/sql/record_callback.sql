-- What became of an attempt to tell.
UPDATE callbacks SET
attempts = %(attempts)s,
answer = %(answer)s,
told_at = CASE WHEN %(told)s THEN clock_timestamp() END,
given_up_at = CASE WHEN %(final)s THEN clock_timestamp() END,
next_try_at = clock_timestamp() + make_interval(secs => %(wait_s)s)
WHERE batch_id = %(batch_id)s AND outcome = %(outcome)s;
