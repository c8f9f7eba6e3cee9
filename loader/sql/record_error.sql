-- One fault of a chunk.
INSERT INTO batch_errors (batch_no, chunk_no, error_no, file, line, "column", value, reason)
VALUES (%(batch_no)s, %(chunk_no)s, %(error_no)s, %(file)s, %(line)s, %(column)s, %(value)s, %(reason)s);
