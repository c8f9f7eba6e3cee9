-- Plans a chunk, unless a load of the same batch has put it in already, and says from where to go on; no row comes
-- back where nobody goes on with the batch. With a chunk planned, the tries before count no more.
WITH held AS (
    SELECT batch_no FROM batches
    WHERE batch_no = %(batch_no)s AND state = 'loading' AND withdrawn_by IS NULL FOR SHARE
),

planned AS (
    INSERT INTO planned_chunks (batch_no, chunk_no, first_line, begin_byte, end_byte, object_key)
    SELECT held.batch_no, %(chunk_no)s, %(first_line)s, %(begin_byte)s, %(end_byte)s, %(object_key)s FROM held
    WHERE NOT EXISTS (
        SELECT FROM chunks WHERE chunks.batch_no = held.batch_no AND chunks.chunk_no = %(chunk_no)s
    )
)

UPDATE plans SET
attempts = 0,
chunk_count = %(chunk_no)s + 1,
next_byte = %(next_byte)s,
next_line = %(next_line)s,
bytes_read = %(bytes_read)s
FROM held WHERE plans.batch_no = held.batch_no
RETURNING plans.batch_no;
