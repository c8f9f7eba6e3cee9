-- Whether a fault of this batch is known.
SELECT EXISTS (SELECT FROM batch_errors WHERE batch_no = %(batch_no)s);
