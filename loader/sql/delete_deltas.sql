-- The totals of a chunk that no longer counts.
DELETE FROM lane_month_deltas WHERE posting_no = %(batch_no)s AND chunk_no = %(chunk_no)s;
