-- What the data is at the moment; also whether the database can answer at all: it is there, and it has been migrated.
SELECT
    version,
    changed_at
FROM data_version;
