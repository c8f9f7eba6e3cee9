-- Which object a batch was read from, so that another in its place is seen to be another.
UPDATE batches SET object_etag = %(etag)s WHERE batch_no = %(batch_no)s;
