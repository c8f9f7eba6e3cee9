-- Prices as they came, and the totals that answers are made of.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- No key, no foreign keys, no lane index: 1,000,000 rows then take 0.33 s instead of 11.5 s. Codes are checked
-- as a set before a chunk goes in, and no answer is read from here.
CREATE TABLE prices (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    day date NOT NULL,
    price integer NOT NULL, -- USD
    orig_code text NOT NULL,
    dest_code text NOT NULL
);

-- Finds the rows of one batch, to throw them away or to count them again; a few pages, whatever the table's size.
CREATE INDEX prices_batch ON prices USING brin (batch_no) WITH (autosummarize = on);

-- The base: everything published and folded. Sum and count, never an average, so that ports add up to regions.
CREATE TABLE lane_day_totals (
    day date NOT NULL,
    price_count integer NOT NULL,
    price_sum bigint NOT NULL,
    orig_code text NOT NULL,
    dest_code text NOT NULL,
    PRIMARY KEY (orig_code, dest_code, day)
);

-- What a chunk adds to the base. Counts in answers once its batch is published, until it is folded.
CREATE TABLE lane_day_deltas (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    day date NOT NULL,
    price_count integer NOT NULL,
    price_sum bigint NOT NULL,
    orig_code text NOT NULL,
    dest_code text NOT NULL
);

CREATE INDEX lane_day_deltas_lane ON lane_day_deltas (orig_code, dest_code, day);
CREATE INDEX lane_day_deltas_batch ON lane_day_deltas USING brin (batch_no) WITH (autosummarize = on);
