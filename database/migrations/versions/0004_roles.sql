-- Two roles with the least rights: the API reads what answers are made of, the loader writes batches.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- Roles belong to the server, not to the database: another copy may have made them already.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['rates_api', 'rates_loader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        -- On RDS, this membership is what lets a role in with an IAM token instead of a password.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
            EXECUTE format('GRANT rds_iam TO %I', role_name);
        END IF;
    END LOOP;
END
$$;

GRANT SELECT ON schema_version, regions, ports, region_ports, batches, chunks, batch_errors, data_version,
lane_day_totals, lane_day_deltas TO rates_api;

GRANT SELECT ON schema_version, region_tree_ports TO rates_loader;
GRANT SELECT, INSERT, UPDATE ON regions, ports, batches TO rates_loader;
GRANT SELECT, UPDATE ON data_version TO rates_loader;
GRANT SELECT, INSERT, DELETE ON region_ports, chunks, batch_errors, prices TO rates_loader;
GRANT SELECT, INSERT, UPDATE, DELETE ON lane_day_totals, lane_day_deltas TO rates_loader;
