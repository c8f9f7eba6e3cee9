-- From here on these deltas count in answers.
INSERT INTO postings (posting_no) VALUES (%(posting_no)s);
