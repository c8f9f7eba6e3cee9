-- The commit that changes answers tells everybody who keeps some (docs/decisions/0013).
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- By trigger, so that loaders of the release before tell as well.
CREATE FUNCTION tell_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('data_version', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_version AFTER UPDATE ON data_version
FOR EACH STATEMENT EXECUTE FUNCTION tell_version();
