-- How many chunks still have no reversal, those that somebody is at included.
SELECT count(*) FROM chunks WHERE batch_no = %(batch_no)s AND NOT reversed;
