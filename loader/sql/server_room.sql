-- How many connections the server would still take from an ordinary role. The statistics of databases count those
-- of all roles, also for one who may not look into them.
SELECT
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', true), '0')::integer
    - (SELECT sum(numbackends) FROM pg_stat_database WHERE datid > 0)::integer;
