-- What the last try to plan a batch ended with; tells how many there have been without a chunk planned.
UPDATE plans SET content = content || jsonb_build_object('failure', %(failure)s::text)
WHERE batch_no = %(batch_no)s RETURNING attempts;
