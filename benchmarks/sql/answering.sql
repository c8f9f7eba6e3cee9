-- The server's processes that answer a role.
SELECT pid FROM pg_stat_activity WHERE usename = %s;
