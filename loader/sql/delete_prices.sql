-- A rejected batch leaves no row.
DELETE FROM prices WHERE batch_no = %(batch_no)s;
