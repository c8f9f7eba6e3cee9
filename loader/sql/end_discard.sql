-- All of it is thrown away.
DELETE FROM discards WHERE batch_no = %(batch_no)s;
