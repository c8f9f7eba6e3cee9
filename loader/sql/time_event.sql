-- How long the newest event of its name took, known once it is over.
UPDATE batch_events SET seconds = %(seconds)s WHERE event_no = (
    SELECT max(event_no) FROM batch_events WHERE batch_id = %(batch_id)s AND event = %(event)s
) AND batch_id = %(batch_id)s;
