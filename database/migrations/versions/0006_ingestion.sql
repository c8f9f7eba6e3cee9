-- Batches that come over HTTP: planned by one worker, done a chunk at a time by all (docs/decisions/0011).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE batches
ADD COLUMN deadline timestamptz, -- when it has to be published, if it matters
ADD COLUMN dry_run boolean NOT NULL DEFAULT false, -- checked, and never published
ADD COLUMN callback_url text, -- who wants to be told how it ended
ADD COLUMN failure text, -- why nobody goes on with it, in state failed
ADD COLUMN request_id text; -- of the request that brought it

-- Of an object that its sender put into the bucket, nobody has read all before its chunks are done.
ALTER TABLE batches ALTER COLUMN content_hash DROP NOT NULL; -- squawk-ignore ban-drop-not-null

-- valid: a dry run without a fault. failed: given up after several tries; `loader redrive` tries again.
ALTER TABLE batches DROP CONSTRAINT batches_state_check; -- squawk-ignore ban-drop-constraint
ALTER TABLE batches ADD CONSTRAINT batches_state_check CHECK (
    state IN ('loading', 'published', 'rejected', 'withdrawn', 'valid', 'failed')
) NOT VALID;
ALTER TABLE batches VALIDATE CONSTRAINT batches_state_check; -- squawk-ignore constraint-missing-not-valid

-- That a batch will miss its deadline is an event of its life, and one alone: whoever does a chunk holds the batch's
-- row, and those who wait to write to it would be overtaken for as long as it is busy.
CREATE UNIQUE INDEX batch_events_late ON batch_events (batch_id) WHERE event = 'late'; -- squawk-ignore require-concurrent-index-creation

CREATE INDEX batches_loading ON batches (batch_no) WHERE state = 'loading'; -- squawk-ignore require-concurrent-index-creation

-- How a batch that is loading is read by whoever does a chunk of it, and how far it has been cut. Apart from
-- `batches`, whose row everyone who does a chunk holds.
CREATE TABLE plans (
    batch_no integer PRIMARY KEY,
    content jsonb NOT NULL, -- a `loader.content.Content`
    attempts smallint NOT NULL DEFAULT 0, -- how often planning was begun
    complete boolean NOT NULL DEFAULT false, -- all its chunks are known
    chunk_count integer NOT NULL DEFAULT 0, -- known so far
    next_byte bigint NOT NULL DEFAULT 0, -- of the content as it is read, where planning goes on
    next_line bigint NOT NULL DEFAULT 1,
    bytes_read bigint NOT NULL DEFAULT 0 -- of the content as it is stored
);

-- The chunks that are still to be done; whoever does one takes its row out with the same transaction.
CREATE TABLE planned_chunks (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    first_line bigint NOT NULL,
    begin_byte bigint NOT NULL, -- of the content, or of the chunk's own object
    end_byte bigint NOT NULL,
    object_key text, -- the object it was put into, where the content cannot be read from the middle
    attempts smallint NOT NULL DEFAULT 0, -- how often it was begun
    failure text, -- what the last attempt ended with
    PRIMARY KEY (batch_no, chunk_no)
);

-- Who is to be told how a batch ended, and whether they know.
CREATE TABLE callbacks (
    batch_id uuid NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    outcome text NOT NULL, -- the state it ended in; begun again, it may end in another
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts smallint NOT NULL DEFAULT 0,
    answer text, -- to the last attempt
    told_at timestamptz,
    given_up_at timestamptz,
    PRIMARY KEY (batch_id, outcome)
);

CREATE INDEX callbacks_open ON callbacks (next_try_at) WHERE told_at IS NULL AND given_up_at IS NULL;

-- A batch as it is told of, by the API and by `loader show`. What has not ended is counted from its chunks, and
-- measured over the last minute or, where that is shorter, since somebody last began with it.
CREATE VIEW batch_status AS
SELECT
    batches.batch_no,
    batches.id,
    batches.key,
    encode(batches.content_hash, 'hex') AS content_hash,
    batches.source,
    batches.state,
    batches.created_by,
    batches.created_at,
    batches.ended_at,
    batches.withdrawn_by,
    batches.deadline,
    batches.dry_run,
    batches.callback_url,
    batches.failure,
    (
        SELECT batch_events.at FROM batch_events
        WHERE batch_events.batch_id = batches.id AND batch_events.event = 'late' AND batches.deadline IS NOT NULL
    ) AS late_since, -- since when it has been known that it will miss its deadline
    batches.request_id,
    CASE WHEN batches.state = 'rejected' THEN 0 ELSE coalesce(done.row_count, batches.row_count) END AS row_count,
    coalesce(done.chunk_count, batches.chunk_count) AS chunk_count,
    coalesce(done.error_count, batches.error_count) AS error_count,
    plans.chunk_count AS chunks_planned,
    plans.complete AS planned,
    -- What is not known is null: how much there is of what was never planned, when it ends that nobody is at.
    CASE WHEN batches.state IN ('published', 'rejected', 'valid') THEN 1 ELSE progress.share END AS share,
    pace.begun_at,
    round(progress.rows_per_second)::bigint AS rows_per_second,
    CASE
        WHEN ahead.seconds < 1e9 -- no century that a timestamp does not reach
            THEN statement_timestamp() + make_interval(secs => ahead.seconds)
    END AS expected_end
FROM batches
LEFT JOIN plans ON plans.batch_no = batches.batch_no AND batches.state IN ('loading', 'failed')
LEFT JOIN LATERAL (
    SELECT
        begun.begun_at,
        greatest(begun.begun_at, statement_timestamp() - interval '60 s') AS since,
        -- A moment at least, so that the first chunk is no rate without bounds.
        extract(EPOCH FROM least(
            interval '60 s', greatest(statement_timestamp() - begun.begun_at, interval '0.1 s')
        ))::double precision AS seconds
    FROM (
        SELECT coalesce(max(batch_events.at), batches.created_at) AS begun_at
        FROM batch_events
        WHERE
            batch_events.batch_id = batches.id AND batch_events.event IN ('opened', 'reopened', 'resumed', 'redriven')
            AND batches.state = 'loading'
    ) AS begun
) AS pace ON batches.state = 'loading' AND batches.withdrawn_by IS NULL
LEFT JOIN LATERAL (
    SELECT
        coalesce(sum(chunks.row_count), 0)::bigint AS row_count,
        count(*)::integer AS chunk_count,
        coalesce(sum(chunks.error_count), 0)::bigint AS error_count,
        coalesce(sum(chunks.row_count) FILTER (WHERE chunks.done_at > pace.since), 0) AS rows_lately
    FROM chunks
    -- The state again, since a join's condition comes too late to leave the chunks of all others unread.
    WHERE chunks.batch_no = batches.batch_no AND batches.state IN ('loading', 'failed')
) AS done ON batches.state IN ('loading', 'failed')
LEFT JOIN LATERAL (
    SELECT
        done.rows_lately / pace.seconds AS rows_per_second,
        CASE
            WHEN plans.chunk_count = 0 THEN 0
            WHEN plans.complete THEN least(1, done.chunk_count::double precision / plans.chunk_count)
            -- While it is being cut: what is done of what is known, of what is read of all there is.
            WHEN plans.chunk_count > 0
                THEN least(
                    1, done.chunk_count::double precision / plans.chunk_count
                    * plans.bytes_read / greatest((plans.content ->> 'size')::bigint, 1)
                )
        END AS share
) AS progress ON true
LEFT JOIN LATERAL (
    SELECT
        CASE
            WHEN progress.share > 0 AND progress.rows_per_second > 0
                THEN done.row_count * (1 - progress.share) / progress.share / progress.rows_per_second
        END AS seconds
) AS ahead ON true;

GRANT SELECT ON batch_status TO rates_api, rates_loader;
GRANT SELECT, INSERT, UPDATE, DELETE ON plans, planned_chunks TO rates_loader;
GRANT SELECT, INSERT, UPDATE ON callbacks TO rates_loader;
GRANT SELECT ON callbacks TO rates_api;
