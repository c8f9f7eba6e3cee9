-- A dump's ports, given as three arrays.
INSERT INTO ports (code, name, parent_slug)
SELECT * FROM unnest(%(codes)s::text[], %(port_names)s::text[], %(region_slugs)s::text[])
ON CONFLICT (code) DO UPDATE SET name = excluded.name, parent_slug = excluded.parent_slug
WHERE (ports.name, ports.parent_slug) IS DISTINCT FROM (excluded.name, excluded.parent_slug);
