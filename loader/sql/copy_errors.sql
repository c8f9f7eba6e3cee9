-- The first faults of a chunk.
COPY batch_errors (batch_no, chunk_no, error_no, file, line, "column", value, reason) FROM STDIN;
