-- Has what bears a batch's number thrown away in the background.
INSERT INTO discards (batch_no, chunk_count)
SELECT %(batch_no)s, max(chunk_no) + 1 FROM chunks WHERE batch_no = %(batch_no)s HAVING count(*) > 0;
