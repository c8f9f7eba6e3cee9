-- Writes down, once a batch, that it will miss its deadline, and tells which ones that are. What is measured counts
-- once that is no chance any more, and a tenth of what is ahead is left to chance; what nobody is at counts when
-- its deadline is near.
WITH late AS (
    SELECT
        id, request_id, deadline, expected_end,
        CASE
            WHEN coalesce(expected_end, statement_timestamp()) > deadline
                THEN extract(EPOCH FROM coalesce(expected_end, statement_timestamp()) - deadline)::double precision
        END AS late_s
    FROM batch_status
    WHERE
        state = 'loading' AND withdrawn_by IS NULL AND late_since IS NULL
        AND (
            deadline <= statement_timestamp()
            OR (
                expected_end - (expected_end - statement_timestamp()) * 0.1 > deadline
                AND begun_at <= statement_timestamp() - make_interval(
                    secs => CASE WHEN planned AND chunk_count >= %(chunks_min)s THEN %(measured_s)s ELSE %(sure_s)s END
                )
            )
            OR (
                rows_per_second = 0
                AND begun_at <= statement_timestamp() - make_interval(secs => %(sure_s)s)
                AND deadline <= statement_timestamp() + make_interval(secs => %(near_s)s)
            )
        )
),

noted AS (
    INSERT INTO batch_events (batch_id, event, seconds, done_by)
    SELECT id, 'late', late_s, %(done_by)s FROM late
    ON CONFLICT (batch_id) WHERE event = 'late' DO NOTHING
    RETURNING batch_id
)

SELECT late.id, late.request_id, late.deadline, late.expected_end, late.late_s
FROM late INNER JOIN noted ON noted.batch_id = late.id;
