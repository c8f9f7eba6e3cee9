-- The batch that has taken another's place, if one has.
SELECT replaced_by FROM batches WHERE id = %(id)s;
