-- The chunks from here on are thrown away.
UPDATE discards SET chunk_count = %(chunk_no)s WHERE batch_no = %(batch_no)s;
