-- The faults of a batch by kind, counted over all of them: of those themselves, each chunk keeps the first only.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- kind_no: from 1, the most frequent first. chunk_no: of the chunk that has the first of its rows, in `file`. A
-- value that is null beside a reason that has one stands for the values that are not told apart.
CREATE TABLE fault_kinds (
    batch_no integer NOT NULL,
    kind_no integer NOT NULL,
    chunk_no integer NOT NULL,
    "column" text,
    value text,
    reason text NOT NULL,
    row_count bigint NOT NULL,
    file text NOT NULL,
    first_lines bigint [] NOT NULL,
    probably_meant text [] NOT NULL,
    PRIMARY KEY (batch_no, kind_no),
    -- As its faults do, they go with the chunks of a batch that is tried again.
    FOREIGN KEY (batch_no, chunk_no) REFERENCES chunks ON DELETE CASCADE
);

GRANT SELECT ON fault_kinds TO rates_api;
GRANT SELECT, INSERT, DELETE ON fault_kinds TO rates_loader;
