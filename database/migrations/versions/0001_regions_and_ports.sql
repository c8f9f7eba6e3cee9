-- Where prices are quoted between: ports, in a tree of regions of any depth.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE regions (
    slug text PRIMARY KEY CHECK (slug <> ''),
    name text NOT NULL,
    -- Deferred, so that an import may name a region before its parent.
    parent_slug text REFERENCES regions (slug) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE ports (
    code text PRIMARY KEY CHECK (code <> ''), -- UN/LOCODE
    name text NOT NULL,
    parent_slug text NOT NULL REFERENCES regions (slug) DEFERRABLE INITIALLY DEFERRED
);

-- The closure: every port below a region, at whatever depth. Kept by the triggers, read by GET /rates.
CREATE TABLE region_ports (
    region_slug text NOT NULL REFERENCES regions (slug) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    port_code text NOT NULL REFERENCES ports (code) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (region_slug, port_code)
);

-- What the closure must be. UNION ends even on a cycle.
CREATE VIEW region_tree_ports AS
WITH RECURSIVE above (region_slug, port_code) AS (
    SELECT parent_slug, code FROM ports
    UNION
    SELECT regions.parent_slug, above.port_code
    FROM above JOIN regions ON regions.slug = above.region_slug
    WHERE regions.parent_slug IS NOT NULL
)
SELECT region_slug, port_code FROM above;

-- One change of the tree at a time: two at once would each see the tree without the other's change, and leave a
-- closure that is neither's (`test_two_changes_at_once_leave_the_closure_of_both`). Taken before the statement,
-- so that nobody holds rows while waiting for it, which could deadlock. Readers do not wait for it, nor it for them.
CREATE FUNCTION lock_region_ports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE region_ports IN SHARE ROW EXCLUSIVE MODE;
    RETURN NULL;
END
$$;

CREATE TRIGGER lock_region_ports BEFORE INSERT OR UPDATE OR DELETE ON regions
FOR EACH STATEMENT EXECUTE FUNCTION lock_region_ports();

CREATE TRIGGER lock_region_ports BEFORE INSERT OR UPDATE OR DELETE ON ports
FOR EACH STATEMENT EXECUTE FUNCTION lock_region_ports();

-- Touches only the rows that differ.
CREATE FUNCTION refresh_region_ports() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM region_ports
    WHERE (region_slug, port_code) NOT IN (SELECT region_slug, port_code FROM region_tree_ports);
    INSERT INTO region_ports (region_slug, port_code)
    SELECT region_slug, port_code FROM region_tree_ports
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER refresh_region_ports AFTER INSERT OR UPDATE OR DELETE ON regions
FOR EACH STATEMENT EXECUTE FUNCTION refresh_region_ports();

CREATE TRIGGER refresh_region_ports AFTER INSERT OR UPDATE OR DELETE ON ports
FOR EACH STATEMENT EXECUTE FUNCTION refresh_region_ports();
