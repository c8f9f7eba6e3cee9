-- One event of a batch's life.
INSERT INTO batch_events (batch_id, event, seconds, done_by)
VALUES (%(batch_id)s, %(event)s, %(seconds)s, %(done_by)s);
