-- Every port, with the region that it lies in.
SELECT code, name, parent_slug FROM ports;
