-- Whether this batch is still loading.
SELECT EXISTS (
    SELECT FROM batches WHERE batch_no = %(batch_no)s AND state = 'loading' AND withdrawn_by IS NULL
);
