-- From here on these deltas no longer count. Not once their folding has begun: then no row comes back.
DELETE FROM postings WHERE posting_no = %(posting_no)s AND NOT folding RETURNING posting_no;
