-- Places that are changed by hand raise the version of the data too (docs/decisions/0013).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- Once in a transaction, whoever was first: loaders raise it themselves, and an import changes regions and ports.
CREATE FUNCTION raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM data_version WHERE xmin <> pg_current_xact_id()::xid) THEN
        UPDATE data_version SET version = version + 1, changed_at = clock_timestamp();
    END IF;
    RETURN NULL;
END
$$;

-- As the transaction commits: then nobody who still has one open keeps batches from being published, and the
-- version's row is the last that is locked, as loaders do it, so that the two cannot deadlock.
CREATE CONSTRAINT TRIGGER raise_version AFTER INSERT OR DELETE ON regions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_version();

CREATE CONSTRAINT TRIGGER raise_version_if_changed AFTER UPDATE ON regions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION raise_version();

CREATE TRIGGER raise_version_when_emptied AFTER TRUNCATE ON regions
FOR EACH STATEMENT EXECUTE FUNCTION raise_version();

CREATE CONSTRAINT TRIGGER raise_version AFTER INSERT OR DELETE ON ports
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_version();

CREATE CONSTRAINT TRIGGER raise_version_if_changed AFTER UPDATE ON ports
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION raise_version();

CREATE TRIGGER raise_version_when_emptied AFTER TRUNCATE ON ports
FOR EACH STATEMENT EXECUTE FUNCTION raise_version();
