-- What is left of a batch's plan once nobody goes on with it.
WITH chunks_left AS (DELETE FROM planned_chunks WHERE batch_no = %(batch_no)s)
DELETE FROM plans WHERE batch_no = %(batch_no)s;
