-- How far a batch has come: seconds summed over its chunks, and what of it is reversed, folded and thrown
-- away; how many of its faults are kept one by one.
SELECT
    coalesce(sum(check_seconds::double precision), 0) AS check_seconds,
    coalesce(sum(write_seconds::double precision), 0) AS write_seconds,
    count(*) FILTER (WHERE reversed) AS reversed_chunks,
    (SELECT count(*) FROM batch_errors WHERE batch_errors.batch_no = %(batch_no)s) AS errors_kept,
    (SELECT folding FROM postings WHERE posting_no = %(batch_no)s) AS folding,
    EXISTS (SELECT FROM discards WHERE discards.batch_no = %(batch_no)s) AS discarding
FROM chunks WHERE batch_no = %(batch_no)s;
