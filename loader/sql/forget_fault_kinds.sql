-- The kinds of a batch's faults, to be written anew with those of one more chunk.
DELETE FROM fault_kinds WHERE batch_no = %(batch_no)s;
