-- A batch that is tried again starts from an empty ledger; its errors go with its chunks.
DELETE FROM chunks WHERE batch_no = %(batch_no)s;
