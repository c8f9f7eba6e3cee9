-- The faults of a batch by kind, the most frequent first.
SELECT "column", value, reason, row_count, file, first_lines, probably_meant, chunk_no FROM fault_kinds
WHERE batch_no = %(batch_no)s ORDER BY kind_no;
