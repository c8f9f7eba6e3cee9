"""Dumps as `pg_dump` writes them, for the tests that read them."""

from collections.abc import Sequence
from pathlib import Path

REGIONS = [("world", "World", None), ("asia", "Asia", "world"), ("europe", "Europe", "world")]
PORTS = [("CNSGH", "Shanghai", "asia"), ("NLRTM", "Rotterdam", "europe")]
PRICES = [("CNSGH", "NLRTM", "2021-01-01", 100), ("CNSGH", "NLRTM", "2021-01-02", 200)]

HEAD = """--
-- PostgreSQL database dump
--

\\restrict 4fR7bUvVwq3

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.prices (
    orig_code text NOT NULL,
    price integer NOT NULL
);

ALTER TABLE public.prices OWNER TO postgres;

"""
TAIL = """
ALTER TABLE ONLY public.ports
    ADD CONSTRAINT ports_pkey PRIMARY KEY (code);

--
-- PostgreSQL database dump complete
--

\\unrestrict 4fR7bUvVwq3

"""
Rows = Sequence[Sequence[object]]


def section(table: str, rows: Rows, columns: str = "") -> str:
    """A COPY section; `columns` in the order of the rows, by default the usual one."""
    usual = {"regions": "slug, name, parent_slug", "ports": "code, name, parent_slug"}
    columns = columns or usual.get(table, "orig_code, dest_code, day, price")
    lines = "".join("\t".join(r"\N" if value is None else str(value) for value in row) + "\n" for row in rows)
    qualified = table if "." in table else f"public.{table}"
    return f"COPY {qualified} ({columns}) FROM stdin;\n{lines}\\.\n\n"


def dump_text(regions: Rows = REGIONS, ports: Rows = PORTS, prices: Rows = PRICES) -> str:
    """In the order of pg_dump: by name, so that prices and ports stand before what they name."""
    return HEAD + section("ports", ports) + section("prices", prices) + section("regions", regions) + TAIL


def write_dump(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path
