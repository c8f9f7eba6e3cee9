-- Whether there is anything to throw away.
SELECT 1 FROM discards LIMIT 1;
