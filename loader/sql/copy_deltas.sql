-- A chunk's totals.
COPY lane_month_deltas (posting_no, chunk_no, month, orig_code, dest_code, days, price_sums, price_counts)
FROM STDIN (FORMAT csv);
