-- Id and state of the batch of an id, or else of the one that had its key first and is the same: by content, by
-- being a dry run or not, and not withdrawn. Any other one of that key is another batch, as the loader has it. A
-- rejected one that was sent again since is not judged yet.
WITH known AS (
    SELECT id, key, state, dry_run, content_hash, withdrawn_by FROM batches
    WHERE
        (id = %(id)s OR key = %(key)s)
        AND (
            state != 'rejected' OR %(sent_at)s::timestamptz IS NULL
            OR coalesce(accepted_at, ended_at) >= %(sent_at)s
        )
)

SELECT id, state FROM known WHERE id = %(id)s
UNION ALL
SELECT id, state FROM known
WHERE
    key = %(key)s AND dry_run = %(dry_run)s
    AND content_hash IS NOT DISTINCT FROM decode(%(content_hash)s, 'hex')
    AND withdrawn_by IS NULL AND state != 'withdrawn'
    AND NOT EXISTS (SELECT FROM batches WHERE id = %(id)s);
