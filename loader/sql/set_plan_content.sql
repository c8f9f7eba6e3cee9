-- What the content has turned out to be, beside what the last try ended with.
UPDATE plans
SET content = %(content)s::jsonb || jsonb_strip_nulls(jsonb_build_object('failure', content -> 'failure'))
WHERE batch_no = %(batch_no)s;
