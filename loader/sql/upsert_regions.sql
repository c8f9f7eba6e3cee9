-- A dump's regions, given as three arrays.
INSERT INTO regions (slug, name, parent_slug)
SELECT * FROM unnest(%(slugs)s::text[], %(region_names)s::text[], %(parent_slugs)s::text[])
ON CONFLICT (slug) DO UPDATE SET name = excluded.name, parent_slug = excluded.parent_slug
WHERE (regions.name, regions.parent_slug) IS DISTINCT FROM (excluded.name, excluded.parent_slug);
