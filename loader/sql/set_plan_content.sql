-- What the content has turned out to be.
UPDATE plans SET content = %(content)s::jsonb WHERE batch_no = %(batch_no)s;
