-- All chunks of a batch are known.
UPDATE plans SET
complete = true,
attempts = 0,
content = content - 'failure',
chunk_count = %(chunk_count)s,
bytes_read = %(bytes_read)s
WHERE batch_no = %(batch_no)s;
