-- Holds a batch's state still while a chunk of it goes in; many chunks may at once.
SELECT state FROM batches WHERE batch_no = %(batch_no)s FOR SHARE;
