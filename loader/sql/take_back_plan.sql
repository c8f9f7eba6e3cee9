-- A try to plan a batch that was cut short by no fault of the batch's does not count.
UPDATE plans SET attempts = greatest(attempts - 1, 0) WHERE batch_no = %(batch_no)s;
