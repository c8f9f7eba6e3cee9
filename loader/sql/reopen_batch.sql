-- Another try of a rejected batch, under a number of its own: whoever is still busy with the last try, with the
-- ports and the cut of then, no longer finds it (`test_what_is_left_of_one_try_does_not_get_into_the_next`). What is
-- sent again over HTTP may be due at another time, and another be told; the command line leaves that as it is.
UPDATE batches SET
batch_no = DEFAULT,
state = 'loading',
source = %(source)s,
chunk_rows = %(chunk_rows)s,
accepted_at = coalesce(%(accepted_at)s, accepted_at),
deadline = CASE WHEN %(accepted_at)s::timestamptz IS NULL THEN deadline ELSE %(deadline)s END,
callback_url = CASE WHEN %(accepted_at)s::timestamptz IS NULL THEN callback_url ELSE %(callback_url)s END,
adds = %(adds)s,
replaces = %(replaces)s,
row_count = 0,
chunk_count = 0,
error_count = 0,
ended_at = NULL
WHERE batch_no = %(batch_no)s AND state = 'rejected';
