-- The chunks that workers are at, by the ports that they talk to the database from.
SELECT classid::bigint, objid::bigint FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND objsubid = 2 AND client_port = ANY (%s)
    AND (classid::bigint, objid::bigint) IN (SELECT batch_no, chunk_no FROM planned_chunks);
