-- The batch whose place one takes that is loading.
UPDATE batches SET replaces = %(replaces)s WHERE batch_no = %(batch_no)s AND state = 'loading';
