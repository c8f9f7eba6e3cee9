-- A rejected batch leaves no total.
DELETE FROM lane_day_deltas WHERE batch_no = %(batch_no)s;
