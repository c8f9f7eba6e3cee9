-- Which of these ids no batch has.
SELECT id FROM unnest(%(ids)s::uuid[]) AS accepted (id)
WHERE NOT EXISTS (SELECT FROM batches WHERE batches.id = accepted.id);
