-- Whether one of these regions or ports is not there, or not as it is here.
SELECT EXISTS (
    SELECT * FROM unnest(%(slugs)s::text[], %(region_names)s::text[], %(parent_slugs)s::text[])
    EXCEPT
    SELECT slug, name, parent_slug FROM regions
) OR EXISTS (
    SELECT * FROM unnest(%(codes)s::text[], %(port_names)s::text[], %(region_slugs)s::text[])
    EXCEPT
    SELECT code, name, parent_slug FROM ports
);
