-- So that the rows of a chunk are found without reading those of the batch.
SELECT summarize_prices();
