-- Whether the database can answer at all: it is there, and it has been migrated.
SELECT version FROM data_version;
