-- Holds a batch against its chunks, its publishing and its withdrawal.
SELECT state FROM batches WHERE batch_no = %(batch_no)s FOR UPDATE;
