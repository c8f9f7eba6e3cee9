-- A posting is done with once its last delta is folded; the batches that are folded by that.
DELETE FROM postings
WHERE folding AND NOT EXISTS (
    SELECT FROM lane_month_deltas WHERE lane_month_deltas.posting_no = postings.posting_no
) RETURNING posting_no;
