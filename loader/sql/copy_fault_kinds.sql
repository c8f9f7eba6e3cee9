-- The faults of a batch by kind.
COPY fault_kinds (
    batch_no, kind_no, "column", value, reason, row_count, file, first_lines, probably_meant, chunk_no
) FROM STDIN;
