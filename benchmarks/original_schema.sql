-- The tables of the service that this project replaces, with the foreign keys they have and the lane index that
-- its queries would need: what the same rows cost where the server checks and indexes each by itself.
CREATE TABLE regions (
    slug text PRIMARY KEY,
    name text NOT NULL,
    parent_slug text REFERENCES regions
);

CREATE TABLE ports (
    code text PRIMARY KEY,
    name text NOT NULL,
    parent_slug text NOT NULL REFERENCES regions
);

CREATE TABLE prices (
    orig_code text NOT NULL REFERENCES ports,
    dest_code text NOT NULL REFERENCES ports,
    day date NOT NULL,
    price integer NOT NULL
);

CREATE INDEX prices_lane ON prices (orig_code, dest_code, day);
