-- Every region, with the one that it lies in.
SELECT slug, name, parent_slug FROM regions;
