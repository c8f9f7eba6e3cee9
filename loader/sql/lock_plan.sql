-- Takes the planning of a batch for this session, unless another has it.
SELECT pg_try_advisory_lock(%(batch_no)s, -2);
