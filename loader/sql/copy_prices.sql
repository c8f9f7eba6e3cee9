-- A chunk's rows.
COPY prices (batch_no, chunk_no, orig_code, dest_code, day, price) FROM STDIN (FORMAT csv);
