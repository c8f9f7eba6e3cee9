-- What a fold has emptied by taking a batch back.
DELETE FROM lane_month_totals
WHERE
    (orig_code, dest_code, month) >= (%(orig_code)s, %(dest_code)s, %(month)s)
    AND (orig_code, dest_code, month) <= (%(last_orig_code)s, %(last_dest_code)s, %(last_month)s)
    AND days = '{}';
