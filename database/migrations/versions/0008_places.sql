-- Places by the tens of thousands: found by name, in a closure that follows without reading itself for each port.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- What is left of a name, a code or a word of a search where case, accents, blanks and punctuation do not count:
-- "Łódź" is "lodz", and "Saint-Nazaire" is "saint nazaire". The extension `unaccent` reads a file of each server's
-- own, and no index or column may be made of what it says; this is the same everywhere.
CREATE FUNCTION fold_name(name text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(replace(replace(lower(translate(
    regexp_replace(normalize(name, NFKD), '[\u0300-\u036f\s]', '', 'g'),
    'ẞÆŒÞøØłŁđĐðÐħĦŧŦŋŊıς' || U&'\00B7\02BB\02BC\2010\2013\2014\2018\2019'
    || '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~',
    'ßæœþoollddddhhttnniσ'
)), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');

-- The name, and behind it the code, as searches are matched with them.
-- Written anew for that, each table is out of reach for as long as it takes: 0.4 s for 10,000 ports.
ALTER TABLE ports ADD COLUMN search text NOT NULL
GENERATED ALWAYS AS (fold_name(name) || ' ' || fold_name(code)) STORED; -- squawk-ignore adding-field-with-default
ALTER TABLE regions ADD COLUMN search text NOT NULL
GENERATED ALWAYS AS (fold_name(name) || ' ' || fold_name(slug)) STORED; -- squawk-ignore adding-field-with-default

REVOKE EXECUTE ON FUNCTION fold_name(text) FROM public;
GRANT EXECUTE ON FUNCTION fold_name(text) TO rates_api, rates_loader;

-- As before, by sets: NOT IN looked through the whole tree for each row once that was larger than the server keeps
-- in memory, and 10,000 ports took 95 s.
CREATE OR REPLACE FUNCTION refresh_region_ports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM region_ports WHERE (region_slug, port_code) IN (
        SELECT region_slug, port_code FROM region_ports
        EXCEPT
        SELECT region_slug, port_code FROM region_tree_ports
    );
    INSERT INTO region_ports (region_slug, port_code)
    SELECT region_slug, port_code FROM region_tree_ports
    EXCEPT
    SELECT region_slug, port_code FROM region_ports;
    RETURN NULL;
END
$$;
