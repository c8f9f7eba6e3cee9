-- Places by the tens of thousands: found by name, in a closure that follows without reading itself for each port.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

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
