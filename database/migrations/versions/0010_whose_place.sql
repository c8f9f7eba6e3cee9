-- A batch takes another's place in one publish, and the same prices are the same batch (docs/decisions/0019).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE batches
ADD COLUMN from_dump boolean NOT NULL DEFAULT false, -- known once it is published
ADD COLUMN adds boolean NOT NULL DEFAULT false, -- a dump that is meant beside another
ADD COLUMN replaces uuid, -- the batch whose place it takes
ADD COLUMN replaced_by uuid, -- the batch that took its place
ADD COLUMN prices_sum numeric, -- of its rows (`loader.identity`), once it is published
ADD COLUMN accepted_at timestamptz, -- when it was sent last, over HTTP or into the bucket
ADD COLUMN object_etag text; -- of its content, where the sender put it into the bucket

ALTER TABLE chunks ADD COLUMN prices_sum numeric; -- of its rows, in any order

CREATE INDEX batches_prices_sum ON batches (prices_sum) WHERE state = 'published'; -- squawk-ignore require-concurrent-index-creation

-- What was imported before is known by its file's name alone.
UPDATE batches SET from_dump = true
WHERE state = 'published' AND source ~* '\.(sql|dump)(\.(gz|zst))?$';
