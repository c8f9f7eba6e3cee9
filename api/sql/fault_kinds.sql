-- The faults of each of some batches by kind, the most frequent first.
SELECT batch_no, "column", value, reason, row_count, first_lines, file, probably_meant FROM fault_kinds
WHERE batch_no = ANY(%(batch_nos)s::integer []) AND kind_no <= %(limit)s
ORDER BY batch_no, kind_no;
