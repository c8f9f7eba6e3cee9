"""The first stage for dumps: what of it is read, what is passed over, what is refused by name and line."""

import gzip
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from loader.chunks import COLUMNS
from loader.dump import Dump, is_dump, unescape
from loader.errors import FileRejected, RowError, UsageError
from loader.formats.compression import zstd
from loader.formats.content import Peekable
from loader.places import Port, Region
from tests.loader.dumps import HEAD, PORTS, PRICES, REGIONS, TAIL, dump_text, section, write_dump

SAMPLE = Path(__file__).parents[2] / "local" / "sample.sql"
EXPECTED_REGIONS = [Region(*row) for row in REGIONS]
EXPECTED_PORTS = [Port(*row) for row in PORTS]
FUNCTION = """CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql AS $_$
BEGIN
    DELETE FROM prices;
END
$_$;
"""


MADE_SO = "make the dump with pg_dump --data-only -t regions -t ports -t prices"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dump.sql"


def read(path: Path, text: str) -> Dump:
    return Dump(write_dump(path, text))


def rejection_of(path: Path, text: str) -> RowError:
    with pytest.raises(FileRejected) as rejected:
        read(path, text)
    return rejected.value.error


def line_of(text: str, part: str) -> int:
    """The number of the first line that has `part` in it."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def price_lines(dump: Dump, rows_max: int = 1000) -> list[bytes]:
    return b"".join(chunk.data for chunk in dump.chunks(rows_max)).splitlines()


def test_the_bundled_sample_is_read_whole() -> None:
    dump = Dump(SAMPLE)
    text = SAMPLE.read_text()
    assert len(dump.places.ports) == 65
    assert len(dump.places.regions) == 32
    assert price_lines(dump) == text.split("FROM stdin;\n")[2].split("\\.\n")[0].encode().splitlines()
    assert next(iter(dump.chunks(10))).first_line == line_of(text, "COPY public.prices") + 1


@pytest.mark.parametrize("order", ["rpx", "prx", "xrp", "xpr", "rxp", "pxr"])
def test_the_sections_may_stand_in_any_order(order: str, path: Path) -> None:
    sections = {
        "r": section("regions", REGIONS), "p": section("ports", PORTS), "x": section("prices", PRICES)
    }  # fmt: skip
    dump = read(path, HEAD + "".join(sections[letter] for letter in order) + TAIL)
    assert dump.places.regions == EXPECTED_REGIONS
    assert dump.places.ports == EXPECTED_PORTS
    assert len(price_lines(dump)) == len(PRICES)


def test_the_columns_may_stand_in_any_order_quoted_or_not(path: Path) -> None:
    text = HEAD + section("regions", [(None, "World", "world")], "parent_slug, name, slug")
    text += section('"public"."ports"', [("world", "CNSGH", "Shanghai")], '"parent_slug", "code", name')
    text += (
        section("prices", [(7, "2021-01-01", "CNSGH", "CNSGH")], "price, day, orig_code, dest_code") + TAIL
    )
    dump = read(path, text)
    assert dump.places.regions == [Region("world", "World", None)]
    assert dump.places.ports == [Port("CNSGH", "Shanghai", "world")]
    (chunk,) = dump.chunks(10)
    assert chunk.layout.columns == ("price", "day", "orig_code", "dest_code")


@pytest.mark.parametrize("qualified", ["archive.prices", '"my schema".prices', "prices"])
def test_the_schema_of_a_table_does_not_matter(qualified: str, path: Path) -> None:
    text = dump_text().replace("COPY public.prices ", f"COPY {qualified} ")
    assert len(price_lines(read(path, text))) == len(PRICES)


def test_a_table_of_two_schemas_is_refused_since_one_of_them_is_not_meant(path: Path) -> None:
    text = dump_text() + section("archive.prices", PRICES)
    error = rejection_of(path, text)
    assert error.line == line_of(text, "COPY archive.prices")
    assert error.reason == "table prices is there twice: public.prices and archive.prices"


def test_several_sections_of_prices_are_read_one_after_the_other(path: Path) -> None:
    dump = read(path, dump_text() + section("prices", PRICES[:1]))
    assert len(price_lines(dump)) == 3
    assert [len(chunk.data.splitlines()) for chunk in dump.chunks(10)] == [2, 1]


def test_escapes_are_read_as_postgresql_writes_them(path: Path) -> None:
    ports = [("CNSGH", r"a\tb\\c\nd\re\b\f\v", "asia"), ("NLRTM", r"\\N \x41\102", "europe")]
    dump = read(path, dump_text(ports=ports))
    assert [port.name for port in dump.places.ports] == ["a\tb\\c\nd\re\b\f\v", r"\N AB"]


def test_only_backslash_n_alone_is_null() -> None:
    assert unescape(r"\N") is None
    assert unescape(r"\\N") == r"\N"
    assert unescape(r"\N ") == "N "


def test_lines_that_end_in_crlf_are_read(path: Path) -> None:
    dump = read(path, dump_text().replace("\n", "\r\n"))
    assert dump.places.ports == EXPECTED_PORTS
    assert len(price_lines(dump)) == len(PRICES)


@pytest.mark.parametrize(
    "statement",
    [
        "SET default_tablespace = '';\n",
        "CREATE TABLE public.notes (\n    note text DEFAULT 'a;'\n);\n",
        "CREATE INDEX prices_day ON public.prices USING btree (day);\n",
        "SELECT pg_catalog.setval('public.numbers', 1, false);\n",
        "COMMENT ON TABLE public.prices IS 'one line;\nDROP TABLE public.prices;\nanother';\n",
        "COMMENT ON TABLE public.prices IS 'it''s;\nCOPY public.prices (price) FROM stdin;\n';\n",
        'CREATE TABLE public.notes (\n    "odd;\nname" text, -- isn\'t\n    b text\n);\n',
        "COMMENT ON TABLE public.prices IS $$one line;\nDROP TABLE public.prices;\n$$;\n",
        "COMMENT ON TABLE public.prices IS $a_1$ $$ ';\nDROP TABLE public.prices;\n$a_1$;\n",
    ],
)
def test_statements_without_data_are_passed_over_to_their_very_end(statement: str, path: Path) -> None:
    dump = read(path, dump_text().replace(HEAD, HEAD + statement))
    assert dump.places.ports == EXPECTED_PORTS
    assert len(price_lines(dump)) == len(PRICES)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE public.prices;\n", "would change the rows above it: 'DROP TABLE public.prices'"),
        ("DROP SCHEMA public CASCADE;\n", "would change the rows above it: 'DROP SCHEMA public CASCADE'"),
        ("DELETE FROM public.prices;\n", "would change the rows above it: 'DELETE FROM public.prices'"),
        ("UPDATE ONLY ports SET name = code;\n", "would change the rows above it: 'UPDATE ONLY ports"),
        ("TRUNCATE TABLE prices;\n", "would change the rows above it: 'TRUNCATE TABLE prices'"),
        ("SELECT pg_sleep(10);\n", f"a statement that is not known: 'SELECT pg_sleep(10)'; {MADE_SO}"),
        ("DO $$ BEGIN END $$;\n", f"a statement that is not known: 'DO $$ BEGIN END $$'; {MADE_SO}"),
        ("ROLLBACK;\n", f"a statement that is not known: 'ROLLBACK'; {MADE_SO}"),
        ("\\! rm -rf /\n", "a command of psql's that is not known: '\\\\! rm -rf /'"),
        ("SELECT 1 \\gexec\n", "a command of psql's that is not known: '\\\\gexec'"),
        ("INSERT INTO public.prices VALUES ('CNSGH');\n", "make the dump without --inserts"),
        ("COPY prices FROM stdin;\n\\.\n", "not a COPY that is known: 'COPY prices FROM stdin'"),
        ("COPY prices (price) FROM stdin WITH CSV;\n", "not a COPY that is known: 'COPY prices (price) FROM"),
        ("COPY public.prices (price) FROM stdin; SELECT 1;\n", "not a COPY that is known: 'COPY public.pri"),
        ("COPY public.prices (price) TO '/etc/passwd';\n", "not a COPY that is known"),
        ("COPY public.prices (price) FROM PROGRAM 'sh';\n", "not a COPY that is known"),
        (section("ports", [("a", "b")], "code, name"), "table ports has columns code, name; expected code"),
        (
            section("prices", [], "orig_code, dest_code, day, price, note"),
            "table prices has columns orig_code, dest_code, day, price, note; expected orig_code",
        ),
        ("SET client_encoding = 'EUC_TW';\n", "the dump is in EUC_TW, which is not known; expected UTF8"),
        ("/* open\n", "the dump ends inside a statement: '/*'"),
        ("CREATE TABLE public.notes (\n", "the dump ends inside a statement: 'CREATE TABLE public.notes ('"),
        ("COMMENT ON TABLE x IS 'open;\n", 'the dump ends inside a statement: "COMMENT ON TABLE x IS'),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name_and_line(statement: str, reason: str, path: Path) -> None:
    text = dump_text() + statement
    error = rejection_of(path, text)
    assert error.line == dump_text().count("\n") + 1
    assert reason in error.reason


@pytest.mark.parametrize("table", ["ports", "prices", "regions"])
def test_a_dump_cut_inside_its_rows_is_refused(table: str, path: Path) -> None:
    text = dump_text()
    cut = text[: text.index("\\.\n", text.index(f"COPY public.{table}"))]
    error = rejection_of(path, cut)
    assert error.line == line_of(text, f"COPY public.{table}")
    assert error.reason == f"the dump ends inside the rows of public.{table}: the line \\. is missing"


@pytest.mark.parametrize("table", ["ports", "prices", "regions"])
def test_a_dump_cut_between_two_tables_is_refused(table: str, path: Path) -> None:
    text = dump_text()
    cut = text[: text.index("\\.\n", text.index(f"COPY public.{table}")) + 3]
    error = rejection_of(path, cut)
    assert error.line == cut.count("\n") + 1
    assert error.reason == (
        "the dump was cut: its last line is missing, '-- PostgreSQL database dump complete'"
    )


def test_without_pg_dumps_comments_it_is_seen_too_that_a_table_has_no_rows_section(path: Path) -> None:
    whole = [line for line in dump_text().splitlines(keepends=True) if not line.startswith("--")]
    assert len(price_lines(read(path, "".join(whole)))) == len(PRICES)
    text = "CREATE TABLE prices (price integer);\n" + section("regions", REGIONS) + section("ports", PORTS)
    assert (
        rejection_of(path, text).reason
        == "the dump makes table prices and has no COPY of its rows: it was cut"
    )


def test_a_dump_cut_at_any_byte_is_refused(path: Path) -> None:
    text = dump_text().encode()
    for length in range(text.index(b"dump complete") + len(b"dump complete")):
        path.write_bytes(text[:length])
        with pytest.raises(FileRejected):
            Dump(path)


@pytest.mark.parametrize("text", ["", "\n", "--\n", HEAD + TAIL, HEAD + section("prices", []) + TAIL])
def test_a_dump_with_nothing_in_it_is_refused(text: str, path: Path) -> None:
    assert rejection_of(path, text).reason.startswith("no row of regions, ports or prices is in it")


def test_a_csv_file_is_not_a_dump(path: Path) -> None:
    error = rejection_of(path, "orig_code,dest_code,day,price\nCNSGH,NLRTM,2021-01-01,1\n")
    expected = "the file is CSV, which `loader load` takes; expected a plain pg_dump"
    assert (error.line, error.reason) == (1, expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"orig_code": "CNSGH"}\n', "the file is NDJSON, which `loader load` takes"),
        (b"PAR1", "the file is Parquet, which `loader load` takes"),
        ("--\n".encode("utf-16"), "the file is UTF-16; expected UTF-8"),
        (b"hello\n", "the file is no dump: it begins with 'hello'"),
    ],
)
def test_what_is_no_dump_is_refused_for_what_it_is(content: bytes, reason: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(FileRejected) as rejected:
        Dump(path)
    assert rejected.value.error.reason.startswith(reason)


@pytest.mark.parametrize("column", ["set", "begin", "copy", "GRANT"])
def test_a_column_that_is_called_like_a_statement_makes_no_dump(column: str) -> None:
    assert not is_dump(Peekable(BytesIO(f"{column},orig_code,dest_code,day,price\n".encode())))
    assert is_dump(Peekable(BytesIO(f"{column} x;\n".encode())))


@pytest.mark.parametrize(
    ("statement", "encoding"),
    [
        ("SET client_encoding = 'LATIN1';", "latin-1"),
        ("SET client_encoding TO latin1;", "latin-1"),
        ('SET SESSION client_encoding = "ISO-8859-1";', "latin-1"),
        ("SET NAMES 'win1252';", "cp1252"),
        ("SELECT pg_catalog.set_config('client_encoding', 'EUC_JP', false);", "euc_jp"),
        ("\\encoding KOI8R", "koi8-r"),
        ("SET client_encoding = 'SQL_ASCII';", "utf-8"),
        ("SET client_encoding = 'unicode';", "utf-8"),
    ],
)
def test_a_dump_in_another_encoding_is_read_in_it(statement: str, encoding: str, path: Path) -> None:
    name = "Москва" if encoding in ("koi8-r", "euc_jp", "utf-8") else "Göteborg"
    text = dump_text(ports=[("CNSGH", name, "asia")])
    path.write_bytes(text.replace("SET client_encoding = 'UTF8';", statement).encode(encoding))
    assert [port.name for port in Dump(path).places.ports] == [name]


def test_a_byte_order_mark_before_a_dump_is_passed_over(path: Path) -> None:
    path.write_bytes(dump_text().encode("utf-8-sig"))
    assert Dump(path).places.ports == EXPECTED_PORTS


# --- what else a database has ------------------------------------------------------------------------------


def test_what_is_none_of_the_three_tables_is_passed_over_and_told(path: Path) -> None:
    besides = section("alembic_version", [("8f14e45f",)], "version_num") + FUNCTION
    besides += "CREATE VIEW public.cheap AS SELECT 1;\nCREATE VIEW public.dear AS SELECT 2;\n"
    besides += "CREATE TRIGGER t BEFORE INSERT ON public.prices FOR EACH ROW EXECUTE FUNCTION public.f();\n"
    besides += "INSERT INTO public.notes VALUES (1);\n"
    dump = read(path, dump_text().replace(HEAD, HEAD + besides))
    assert dump.places.ports == EXPECTED_PORTS
    assert len(price_lines(dump)) == len(PRICES)
    assert dump.told() == (
        "rows of public.alembic_version (1), CREATE FUNCTION (1), CREATE VIEW (2), CREATE TRIGGER (1),"
        " INSERT INTO (1)"
    )
    assert read(path, dump_text()).told() == ""


def test_tables_are_dropped_and_emptied_before_their_rows_as_with_clean(path: Path) -> None:
    before = "DROP TABLE IF EXISTS public.prices;\nDROP SCHEMA IF EXISTS x;\nTRUNCATE public.ports;\n"
    assert read(path, dump_text().replace(HEAD, HEAD + before)).places.ports == EXPECTED_PORTS


@pytest.mark.parametrize(
    "declared",
    [
        "ALTER TABLE ONLY public.prices ATTACH PARTITION public.prices_2021 FOR VALUES FROM (1) TO (2);\n",
        "CREATE TABLE public.prices_2021 PARTITION OF public.prices DEFAULT;\n",
        "CREATE TABLE public.prices_2021 (\n    price integer\n)\nINHERITS (public.prices);\n",
    ],
)
def test_rows_of_a_part_of_prices_are_prices(declared: str, path: Path) -> None:
    parts = section("prices_2021", PRICES) + section("prices", PRICES[:1])
    text = dump_text(prices=[]).replace(HEAD, HEAD + declared + parts)
    assert len(price_lines(read(path, text))) == len(PRICES) + 1


def test_rows_of_what_may_be_a_part_are_refused(path: Path) -> None:
    columns = ", ".join(COLUMNS)
    text = section("regions", REGIONS) + section("prices_2021", PRICES, columns)
    reason = "rows of public.prices_2021, which may be a part of another table; make the dump with"
    assert rejection_of(path, text).reason.startswith(reason)
    made = "CREATE TABLE public.prices_2021 (price integer);\n"
    assert read(path, made + text).told() == "rows of public.prices_2021 (2)"


def test_tables_of_two_databases_are_refused(path: Path) -> None:
    text = "\\connect a\n" + dump_text() + "\\connect b\n" + section("prices", PRICES)
    reason = "table prices is there twice: public.prices of database a and public.prices of database b"
    assert rejection_of(path, text).reason == reason


def test_a_dump_that_is_not_utf_8_is_refused_by_line(path: Path) -> None:
    text = dump_text(ports=[("CNSGH", "Göteborg", "asia")])
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileRejected) as rejected:
        Dump(path)
    assert rejected.value.error.line == line_of(text, "Göteborg")
    assert rejected.value.error.reason == "not UTF-8: byte 0xf6"


@pytest.mark.parametrize(
    ("ports", "column", "reason"),
    [
        ([("CNSGH", "Shanghai")], None, "a row of ports has 2 columns, expected 3"),
        ([("CNSGH", "Shanghai", "asia", "x")], None, "a row of ports has 4 columns, expected 3"),
        ([("CNSGH", None, "asia")], "name", "a row of ports has no name"),
        ([("", "Shanghai", "asia")], "code", "a row of ports has no code"),
        ([("CNSGH", "Shanghai", None)], "parent_slug", "a row of ports has no parent_slug"),
        ([("CNSGH", r"Shang\0hai", "asia")], "name", "a NUL byte in name"),
    ],
)
def test_a_bad_row_of_ports_is_named_by_line_and_column(
    ports: list[tuple], column: str | None, reason: str, path: Path
) -> None:
    text = dump_text(ports=ports)
    error = rejection_of(path, text)
    assert (error.line, error.column, error.reason) == (
        line_of(text, "COPY public.ports") + 1,
        column,
        reason,
    )


@pytest.mark.parametrize(
    ("regions", "ports", "reason"),
    [
        ([("a", "A", "b"), ("b", "B", "a")], [], "region 'a' lies in itself; region 'b' lies in itself"),
        ([("a", "A", "a")], [], "region 'a' lies in itself"),
        ([("a", "A", "b"), ("b", "B", "c"), ("c", "C", "b")], [], "region 'b' lies in itself; region 'c'"),
        ([("a", "A", "nowhere")], [], "region 'a' lies in region 'nowhere', which is not there"),
        ([("a", "A", None)], [("P", "P", "b")], "port 'P' lies in region 'b', which is not there"),
        ([("a", "A", None), ("a", "B", None)], [], "region 'a' is there twice"),
        ([("a", "A", None)], [("P", "P", "a"), ("P", "Q", "a")], "port 'P' is there twice"),
        ([("a", "A", None)], [("a", "P", "a")], "'a' is a region and a port"),
    ],
)  # fmt: skip
def test_a_tree_that_is_none_is_refused(
    regions: list[tuple], ports: list[tuple], reason: str, path: Path
) -> None:
    error = rejection_of(path, dump_text(regions, ports, prices=[]))
    assert error.reason.startswith(reason)


def test_a_dump_that_changes_while_it_is_read_is_rejected(path: Path) -> None:
    chunks = read(path, dump_text()).chunks(1)
    next(chunks)
    with path.open("a") as stream:
        stream.write("-- more\n")
    with pytest.raises(FileRejected, match="the file changed while it was being loaded"):
        list(chunks)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_dump_may_be_compressed(compress: Callable[[bytes], bytes], path: Path) -> None:
    stored = compress(dump_text().encode())
    path.write_bytes(stored)
    dump = Dump(path)
    assert dump.places.ports == EXPECTED_PORTS
    assert len(price_lines(dump)) == len(PRICES)
    assert dump.stored_hash() == sha256(stored).digest()
    assert dump.position == dump.size == len(stored)
    plain = Dump(write_dump(path.with_suffix(".plain"), dump_text()))
    assert dump.content_hash() == plain.content_hash()


def test_a_compressed_dump_that_ends_early_is_told_by_line(path: Path) -> None:
    text = dump_text()
    at = text.index("CNSGH", text.index("COPY public.prices"))
    path.write_bytes(gzip.compress(text[:at].encode()) + gzip.compress(text[at:].encode())[:12])
    with pytest.raises(FileRejected) as rejected:
        Dump(path)
    assert rejected.value.error.line == text[:at].count("\n") + 1
    assert rejected.value.error.reason == "the gzip stream ends early"


def test_an_archive_of_pg_dump_is_refused_with_what_to_do(path: Path) -> None:
    path.write_bytes(b"PGDMP\x01\x10\x00")
    with pytest.raises(FileRejected, match=r"an archive of pg_dump; expected a plain dump \(pg_dump --"):
        Dump(path)


def test_many_prices_are_passed_over_to_their_end_and_cut_from_their_first_line(path: Path) -> None:
    rows = [(r"\.", r"x\.", "2021-01-01", f"{number}\\.") for number in range(50_000)]
    dump = read(path, dump_text(prices=rows) + section("prices", PRICES))
    assert [one.line_count for one in dump.sections] == [50_000, 2]
    chunks = list(dump.chunks(20_000))
    assert [len(chunk.data.splitlines()) for chunk in chunks] == [20_000, 20_000, 10_000, 2]
    first = line_of(path.read_text(), "COPY public.prices") + 1
    assert [chunk.first_line for chunk in chunks[:3]] == [first, first + 20_000, first + 40_000]
    assert chunks[3].first_line == dump.sections[1].first_line
    assert dump.position <= dump.size


def test_a_dump_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(UsageError, match=r"/dump\.sql: No such file or directory$"):
        Dump(path)


@pytest.mark.parametrize("size", [70_000, 1_100_000, 3_000_000])
@pytest.mark.parametrize("before", [0, 1_000])
def test_rows_of_other_tables_may_be_of_any_length(size: int, before: int, path: Path) -> None:
    notes = [(number, "short") for number in range(before)]
    notes += [(1, "x" * size), (2, r"\." + "y" * size), (3, "z" * size)]
    text = HEAD + section("notes", notes, "number, note") + section("ports", PORTS)
    text += section("notes", notes[-1:], "number, note") + section("prices", PRICES)
    dump = read(path, text + section("regions", REGIONS) + TAIL)
    assert dump.places.ports == EXPECTED_PORTS
    assert len(price_lines(dump)) == len(PRICES)
    assert dump.told() == f"rows of public.notes ({before + 4:,})"


@pytest.mark.parametrize("table", ["prices", "ports"])
def test_rows_of_ours_that_are_too_long_are_told_by_line_behind_such_rows(table: str, path: Path) -> None:
    long = [(1, "x" * 100_000)]
    text = HEAD + section("notes", long, "number, note")
    line = text.count("\n") + 2
    row = ("CNSGH", "y" * 100_000, *("2021-01-01", 1)[: 2 if table == "prices" else 0])
    text += section(table, [row if table == "prices" else (*row, "asia")])
    error = rejection_of(path, text + TAIL)
    assert (error.line, "longer than" in error.reason) == (line, True)
