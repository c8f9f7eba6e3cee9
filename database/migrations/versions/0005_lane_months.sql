-- Totals a lane and month, and what it takes to take a batch back (docs/decisions/0009, 0010).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '30min'; -- it carries over every total there is

-- Nobody may write totals while they are carried over; whoever reads goes on until the two tables give way.
LOCK TABLE batches, lane_day_totals, lane_day_deltas IN SHARE MODE;

-- The base: everything published and folded. The days of `month` (its first day) that have prices, with sum and
-- count of each beside them: a tenth of the rows, of the index and of the write-ahead log that a row a day takes.
CREATE TABLE lane_month_totals (
    month date NOT NULL CHECK (extract(DAY FROM month) = 1),
    orig_code text NOT NULL,
    dest_code text NOT NULL,
    days smallint[] NOT NULL, -- from 1 to 31, ascending
    price_sums bigint[] NOT NULL,
    price_counts integer[] NOT NULL,
    PRIMARY KEY (orig_code, dest_code, month)
);

-- What a chunk adds to the base or, below zero, takes back. Counts in answers while its posting is there.
CREATE TABLE lane_month_deltas (
    posting_no integer NOT NULL,
    chunk_no integer NOT NULL,
    month date NOT NULL,
    orig_code text NOT NULL,
    dest_code text NOT NULL,
    days smallint[] NOT NULL,
    price_sums bigint[] NOT NULL,
    price_counts integer[] NOT NULL
);

-- With the posting in it, a read passes over what does not count yet without looking at the rows.
CREATE INDEX lane_month_deltas_lane ON lane_month_deltas (orig_code, dest_code, month, posting_no);
CREATE INDEX lane_month_deltas_chunk ON lane_month_deltas USING brin (posting_no, chunk_no) WITH (autosummarize = on);

-- The deltas that count in answers and are not all folded: publishing puts a batch's number here, withdrawing it
-- takes the number out again or, once folding has begun, puts in its negative, whose deltas take the batch back.
CREATE TABLE postings (
    posting_no integer PRIMARY KEY,
    folding boolean NOT NULL DEFAULT false -- said before the first of its deltas is folded, never taken back
);

-- Batch numbers that no longer count: what prices and deltas bear them is thrown away, a chunk at a time from the
-- last one down.
CREATE TABLE discards (
    batch_no integer PRIMARY KEY,
    chunk_count integer NOT NULL
);

-- A batch's life, for `loader show`.
CREATE TABLE batch_events (
    batch_id uuid NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    event_no integer GENERATED ALWAYS AS IDENTITY,
    event text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds real, -- how long it took, where that says something
    done_by text NOT NULL,
    PRIMARY KEY (batch_id, event_no)
);

ALTER TABLE batches ADD COLUMN withdrawn_by text; -- since it was asked for; the state follows once it is true
ALTER TABLE chunks ADD COLUMN check_seconds real NOT NULL DEFAULT 0;
ALTER TABLE chunks ADD COLUMN write_seconds real NOT NULL DEFAULT 0;
ALTER TABLE chunks ADD COLUMN reversed boolean NOT NULL DEFAULT false; -- the deltas that take it back are written

-- A chunk's rows lie together, so that they are found, counted again and thrown away without reading the batch's.
DROP INDEX prices_batch; -- squawk-ignore require-concurrent-index-deletion
CREATE INDEX prices_chunk ON prices USING brin (batch_no, chunk_no) WITH (autosummarize = on); -- squawk-ignore require-concurrent-index-creation

-- What autovacuum has not come to yet is in no summary, and every search for a chunk would read it. Only the
-- table's owner may ask for it, so the loader asks through this.
CREATE FUNCTION summarize_prices() RETURNS integer LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC
    SELECT brin_summarize_new_values('prices_chunk'::regclass);
END;
REVOKE EXECUTE ON FUNCTION summarize_prices() FROM public;

INSERT INTO lane_month_totals (month, orig_code, dest_code, days, price_sums, price_counts)
SELECT
    date_trunc('month', day)::date, orig_code, dest_code,
    array_agg(extract(DAY FROM day)::smallint ORDER BY day),
    array_agg(price_sum ORDER BY day),
    array_agg(price_count ORDER BY day)
FROM lane_day_totals GROUP BY 1, 2, 3 ORDER BY 2, 3, 1;

INSERT INTO lane_month_deltas (posting_no, chunk_no, month, orig_code, dest_code, days, price_sums, price_counts)
SELECT
    batch_no, chunk_no, date_trunc('month', day)::date, orig_code, dest_code,
    array_agg(extract(DAY FROM day)::smallint ORDER BY day),
    array_agg(price_sum ORDER BY day),
    array_agg(price_count ORDER BY day)
FROM lane_day_deltas GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 4, 5, 3;

INSERT INTO postings (posting_no, folding)
SELECT batch_no, true FROM batches
WHERE state = 'published' AND batch_no IN (SELECT posting_no FROM lane_month_deltas);

-- The API and the loader that still run while this release is deployed use the old names; a later one drops them.
DROP TABLE lane_day_totals, lane_day_deltas; -- squawk-ignore ban-drop-table

-- The old statement adds to this what published batches have below. So what counts of others is here: the rest of
-- a batch that was taken back when it was partly folded, and its reversal.
CREATE VIEW lane_day_totals AS
SELECT
    (month + (of_day.day - 1))::date AS day, of_day.price_count, of_day.price_sum, orig_code, dest_code
FROM (
    SELECT month, orig_code, dest_code, days, price_sums, price_counts FROM lane_month_totals
    UNION ALL
    SELECT month, orig_code, dest_code, days, price_sums, price_counts
    FROM lane_month_deltas INNER JOIN postings USING (posting_no)
    WHERE posting_no NOT IN (SELECT batch_no FROM batches WHERE state = 'published')
) AS totals, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count);

CREATE VIEW lane_day_deltas AS
SELECT
    posting_no AS batch_no, chunk_no, (month + (of_day.day - 1))::date AS day,
    of_day.price_count, of_day.price_sum, orig_code, dest_code
FROM lane_month_deltas, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count);

-- The old loader knows of no postings, and may have all of a batch in already.
CREATE FUNCTION post_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO postings (posting_no) VALUES (new.batch_no) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER post_published AFTER UPDATE OF state ON batches
FOR EACH ROW WHEN (old.state = 'loading' AND new.state = 'published') EXECUTE FUNCTION post_published();

GRANT SELECT ON lane_month_totals, lane_month_deltas, postings, batch_events, lane_day_totals, lane_day_deltas
TO rates_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON lane_month_totals, lane_month_deltas, postings, discards TO rates_loader;
GRANT SELECT, INSERT, UPDATE ON batch_events TO rates_loader;
GRANT UPDATE (write_seconds, reversed) ON chunks TO rates_loader;
GRANT EXECUTE ON FUNCTION summarize_prices() TO rates_loader;
