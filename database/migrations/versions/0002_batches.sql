-- The ledger: a batch belongs to no task, what has been done of it stands here.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE batches (
    -- Small and internal: every price row carries it.
    batch_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the outside calls it; may be made where there is no database.
    id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    -- The sender's name for it, by default the content's hash: sending it again does nothing.
    key text NOT NULL UNIQUE CHECK (key <> ''),
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32), -- SHA-256
    source text NOT NULL, -- the files' names as given
    state text NOT NULL DEFAULT 'loading' CHECK (state IN ('loading', 'published', 'rejected', 'withdrawn')),
    chunk_rows integer NOT NULL CHECK (chunk_rows > 0), -- how it is cut, so that a resumed load cuts the same
    row_count bigint NOT NULL DEFAULT 0, -- these three are final once it is no longer loading
    chunk_count integer NOT NULL DEFAULT 0,
    error_count bigint NOT NULL DEFAULT 0,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);

CREATE INDEX batches_created_at ON batches (created_at);

-- A row here commits with the rows it speaks of: a chunk is either wholly in and named, or neither.
CREATE TABLE chunks (
    batch_no integer NOT NULL REFERENCES batches (batch_no) ON DELETE CASCADE,
    chunk_no integer NOT NULL CHECK (chunk_no >= 0),
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32), -- a changed file is never skipped
    row_count integer NOT NULL,
    error_count integer NOT NULL,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch_no, chunk_no)
);

-- What is wrong with a batch, row by row; the first of each chunk, the counts above are always whole.
CREATE TABLE batch_errors (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    error_no integer NOT NULL,
    file text NOT NULL,
    line bigint NOT NULL,
    "column" text,
    value text,
    reason text NOT NULL,
    PRIMARY KEY (batch_no, chunk_no, error_no),
    FOREIGN KEY (batch_no, chunk_no) REFERENCES chunks (batch_no, chunk_no) ON DELETE CASCADE
);

-- Raised by everything that changes an answer, in the same transaction: the ETag of GET /rates.
CREATE TABLE data_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO data_version (version) VALUES (0);
