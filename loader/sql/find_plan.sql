-- How far the planning of a batch has come.
SELECT
    content - 'failure' AS content, attempts, complete, chunk_count, next_byte, next_line,
    content ->> 'failure' AS failure
FROM plans WHERE batch_no = %(batch_no)s;
