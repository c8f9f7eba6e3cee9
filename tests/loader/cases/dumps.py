"""Cases of dumps, and of what is given to `loader import` in their place."""

from __future__ import annotations

from tests.loader.cases.case import Case
from tests.loader.cases.delimited import csv, parted
from tests.loader.cases.mistaken import tarred
from tests.loader.cases.ndjson import ndjson
from tests.loader.cases.parquet import parquet
from tests.loader.dumps import HEAD, PORTS, PRICES, REGIONS, TAIL, dump_text, section

ATTACHED = "ALTER TABLE ONLY public.prices ATTACH PARTITION public.prices_2021 DEFAULT;\n"


def dump(*changes: tuple[str, str], before: str = "") -> bytes:
    text = dump_text().replace(HEAD, HEAD + before)
    for old, new in changes:
        text = text.replace(old, new)
    return text.encode()


def inserts(columns: str = "") -> bytes:
    rows = "".join(
        f"INSERT INTO public.prices {columns}VALUES ('{orig}', '{dest}', '{day}', {price});\n"
        for orig, dest, day, price in PRICES
    )
    return (HEAD + rows + TAIL).encode()


DUMP_CASES = [
    Case("plain, as `pg_dump` writes it", dump),
    Case("behind a byte order mark (UTF-8)", b"\xef\xbb\xbf" + dump()),
    Case("lines that end in CRLF", dump(("\n", "\r\n"))),
    Case("in another encoding, which it names", lambda: dump(("UTF8", "LATIN1")).decode().encode("latin-1")),
    Case(
        "`--data-only`",
        lambda: dump_text().replace(HEAD, "SET client_encoding = 'UTF8';\n").replace(TAIL, "").encode(),
    ),
    Case("`--clean`", dump(before="DROP TABLE IF EXISTS public.prices;\n")),
    Case(
        "with other tables, views, functions",
        dump(
            before=section("alembic_version", [("8f1",)], "version_num")
            + "CREATE VIEW public.v AS SELECT ';';\n"
        ),
    ),
    Case(
        "prices in partitions",
        dump(("COPY public.prices ", f"{ATTACHED}COPY public.prices_2021 ")),
    ),
    Case(
        "columns in another order",
        (
            HEAD
            + section("regions", REGIONS)
            + section("ports", PORTS)
            + section("prices", [row[::-1] for row in PRICES], "price, day, dest_code, orig_code")
            + TAIL
        ).encode(),
    ),
    Case("`--inserts`", inserts, 'line 18: rows as statements: "INSERT INTO public.prices VALUES ('),
    Case(
        "`--column-inserts`",
        inserts("(orig_code, dest_code, day, price) "),
        "line 18: rows as statements: ",
    ),
    Case("`--format=custom`", b"PGDMP\x01\x0e" + bytes(100), "the file is an archive of pg_dump"),
    Case("`--format=tar`", tarred("toc.dat"), "the file is a dump in tar format"),
    Case(
        "cut off",
        lambda: dump().partition(b"\\.\n")[0],
        "line 18: the dump ends inside the rows of public.ports",
    ),
    Case(
        "cut off between two tables",
        lambda: dump().partition(b"COPY public.prices")[0],
        "line 23: the dump was cut: its last line is missing",
    ),
    Case(
        "bytes that are not of its encoding",
        dump(("Shanghai", "Sh\0nghai")).replace(b"\0", b"\xff"),
        "line 19: not UTF-8: byte 0xff",
    ),
    Case(
        "UTF-16, as a shell may redirect it", lambda: dump().decode().encode("utf-16"), "the file is UTF-16"
    ),
    Case(
        "of other tables alone",
        (HEAD + section("users", [("me",)], "name") + TAIL).encode(),
        "no row of regions, ports or prices is in it",
    ),
    Case("of MySQL", b"-- MySQL dump 10.13  Distrib 8.0.36\n", "the file is a dump of MySQL"),
]
OF_LOAD_CASES = [
    Case("CSV", csv, "the file is CSV, which `loader load` takes"),
    Case("CSV parted by semicolons", parted(";"), "the file is CSV, which `loader load` takes"),
    Case("NDJSON", ndjson, "the file is NDJSON, which `loader load` takes"),
    Case("Parquet", parquet, "the file is Parquet, which `loader load` takes"),
    Case("text of any other kind", b"hello\n", "the file is no dump: it begins with 'hello'"),
]
OF_IMPORT_CASES = [
    Case("a dump", dump, "the file is a dump of a database, which `loader import` takes"),
]
