-- A published batch with just these prices.
SELECT id, source, row_count FROM batches
WHERE
    state = 'published' AND prices_sum = %(prices_sum)s AND row_count = %(row_count)s
    AND batch_no != %(batch_no)s
ORDER BY batch_no LIMIT 1;
