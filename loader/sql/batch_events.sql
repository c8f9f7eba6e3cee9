-- A batch's life, from its beginning.
SELECT event, at, seconds, done_by FROM batch_events WHERE batch_id = %(batch_id)s ORDER BY event_no;
