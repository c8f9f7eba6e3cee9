-- Somebody who is due to be told how a batch ended, for one of those who tell.
SELECT
    batch_id, outcome, created_at,
    extract(EPOCH FROM clock_timestamp() - created_at)::double precision AS age_s,
    attempts + 1 AS attempt
FROM callbacks
WHERE told_at IS NULL AND given_up_at IS NULL AND next_try_at <= clock_timestamp()
ORDER BY next_try_at LIMIT 1 FOR UPDATE SKIP LOCKED;
