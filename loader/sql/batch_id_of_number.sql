-- Which batch has this number; none where it has been tried again under another.
SELECT id FROM batches WHERE batch_no = %(batch_no)s;
