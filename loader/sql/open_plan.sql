-- Says that a batch is to be planned, before anybody has looked at its content.
INSERT INTO plans (batch_no, content) VALUES (%(batch_no)s, '{}') ON CONFLICT (batch_no) DO NOTHING;
