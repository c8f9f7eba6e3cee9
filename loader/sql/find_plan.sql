-- How far the planning of a batch has come.
SELECT content, attempts, complete, chunk_count, next_byte, next_line FROM plans WHERE batch_no = %(batch_no)s;
