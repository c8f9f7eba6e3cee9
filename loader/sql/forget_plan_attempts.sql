-- A batch that is begun again has all its tries at being planned before it.
UPDATE plans SET attempts = 0 WHERE batch_no = %(batch_no)s;
