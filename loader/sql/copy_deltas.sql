-- A chunk's totals.
COPY lane_day_deltas (batch_no, chunk_no, orig_code, dest_code, day, price_sum, price_count) FROM STDIN (FORMAT csv);
