"""`GET /batches/ID/errors`: every fault once, in pages of JSON or as one CSV file."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from uuid import UUID

import pytest

from api.batch_errors import defused
from api.ledger import Fault
from local.postgres import HOST
from tests.api.ingestion import accepted, post, read_csv, refused
from tests.api.service import Service
from tests.api.world import PLACES, load_prices
from tests.postgres import Database
from tests.waiting import wait_until

LANE = ("CNSGH", "EETLL")
# More than three pages of the file, over many chunks.
FAULTS = 3_333


@pytest.fixture(scope="module")
def bad(ledger: Database) -> UUID:
    batch = load_prices(ledger, [(*LANE, "2021-02-30", 1)] * FAULTS, places=PLACES).batch
    assert batch is not None
    return batch


def test_all_faults_are_told_once_in_pages(ingestion: Service, bad: UUID) -> None:
    address, lines = f"/batches/{bad}/errors?limit=1000", []
    while address:
        answer = ingestion.get(address)
        assert answer.status_code == 200
        page = answer.json()
        assert page.keys() == {"errors", "next", "not_listed"}
        assert page["not_listed"] == 0
        lines += [error["line"] for error in page["errors"]]
        address = page["next"]
        assert answer.headers.get("link") == (address and f'<{address}>; rel="next"')
    assert lines == list(range(2, FAULTS + 2))


def test_a_page_has_100_unless_another_number_is_asked_for(ingestion: Service, bad: UUID) -> None:
    assert len(ingestion.get(f"/batches/{bad}/errors").json()["errors"]) == 100
    assert len(ingestion.get(f"/batches/{bad}/errors", limit="7").json()["errors"]) == 7


@pytest.mark.parametrize("by", ["address", "header"])
def test_all_faults_are_one_csv_file(ingestion: Service, bad: UUID, by: str) -> None:
    if by == "address":
        answer = ingestion.get(f"/batches/{bad}/errors.csv")
    else:
        answer = ingestion.client.get(f"/batches/{bad}/errors", headers={"Accept": "text/csv"})
        assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="errors-{bad}.csv"'
    rows = read_csv(answer.text)
    assert [int(row["line"]) for row in rows] == list(range(2, FAULTS + 2))
    assert rows[0].keys() == {"file", "line", "column", "value", "reason"}
    assert rows[0]["value"] == "2021-02-30"


def test_faults_that_were_only_counted_are_told_in_number(ingestion: Service, ledger: Database) -> None:
    """Of each chunk the first thousand are kept one by one; the batch has all of them by kind."""
    rows = [(*LANE, "2021-02-30", 1)] * 1_200 + [(*LANE, "2021-03-01", 0)]
    batch = load_prices(ledger, rows, chunk_rows=2_000).batch
    told = ingestion.get(f"/batches/{batch}/errors.csv")
    *listed, last = read_csv(told.text)
    assert [int(row["line"]) for row in listed] == list(range(2, 1_002))
    assert told.headers["faults-not-listed"] == "201"
    assert last["reason"].startswith("… and 201 more faults are not listed")
    assert ingestion.get(f"/batches/{batch}/errors").json()["not_listed"] == 201
    kinds = ingestion.get(f"/batches/{batch}").json()["error_kinds"]
    assert [(kind["column"], kind["value"], kind["count"], kind["first_lines"]) for kind in kinds] == [
        ("day", "2021-02-30", 1_200, [2, 3, 4, 5, 6]),
        ("price", "0", 1, [1_202]),
    ]


def test_whatever_stands_in_a_row_comes_through_the_file_as_it_is(
    ingestion: Service, ledger: Database
) -> None:
    batch = load_prices(ledger, [(*LANE, "2021-02-30", 1)]).batch
    odd = ['a "quote", and a comma', "two\nlines", "ä\u2028", "", " ", "1-1", " =1", "'1"]
    ledger.rows(
        "INSERT INTO batch_errors SELECT batch_no, 0, n, 'f', n, NULL, value, 'r' FROM batches,"
        " unnest(%s::text[]) WITH ORDINALITY AS odd (value, n) WHERE id = %s RETURNING 1",
        odd,
        batch,
    )
    text = ingestion.get(f"/batches/{batch}/errors.csv").text
    rows = read_csv(text)
    assert [row["value"] for row in rows[1:]] == odd
    assert rows[1]["column"] == ""
    assert text.count("\r\n") == len(odd) + 2


def test_no_spreadsheet_takes_what_stands_in_a_row_for_a_formula(
    ingestion: Service, ledger: Database
) -> None:
    """JSON has it as it is."""
    batch = load_prices(ledger, [(*LANE, "2021-02-30", 1)]).batch
    formulas = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        '=HYPERLINK("https://x",1)',
        "=",
        "\n=1",
        "\uff1d1",
    ]
    ledger.rows(
        "INSERT INTO batch_errors SELECT batch_no, 0, n, value, n, value, value, value FROM batches,"
        " unnest(%s::text[]) WITH ORDINALITY AS formula (value, n) WHERE id = %s RETURNING 1",
        formulas,
        batch,
    )
    rows = read_csv(ingestion.get(f"/batches/{batch}/errors.csv").text)[1:]
    for name in ("file", "column", "value", "reason"):
        assert [row[name] for row in rows] == [f"'{formula}" for formula in formulas]
    told = ingestion.get(f"/batches/{batch}/errors").json()["errors"][1:]
    assert [error["value"] for error in told] == formulas


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a;=1;-2", "a;'=1;'-2"),
        ('a;"=1"', 'a;"\'=1"'),
        (";;=1", ";;'=1"),
        ("a=1-2;b", "a=1-2;b"),
        (None, None),
    ],
)
def test_nor_where_a_semicolon_separates_fields(value: str | None, shown: str | None) -> None:
    assert defused(Fault("f", 1, "day", value, "r")) == ["f", 1, "day", shown, "r"]


def test_who_reads_the_file_slowly_leaves_a_thread_to_the_others(
    ingestion: Service, ledger: Database
) -> None:
    batch = load_prices(ledger, [(*LANE, "2021-02-30", 1)]).batch
    ledger.rows(
        "INSERT INTO batch_errors SELECT batch_no, 0, n, 'f', n, NULL, repeat('x', 200), 'r' FROM batches,"
        " generate_series(1, 30000) AS n WHERE id = %s RETURNING 1",
        batch,
    )
    path = f"/batches/{batch}/errors.csv"
    with ExitStack() as slow:
        for _ in range(3):
            connection = slow.enter_context(socket.socket())
            # Before it connects: else the kernel would take megabytes for who reads nothing.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
            connection.connect((HOST, ingestion.port))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert refused(ingestion.get(path), 503, "busy")
        assert ingestion.get("/health/live").status_code == 200
    wait_until(lambda: ingestion.get(path).status_code == 200)
    assert [ingestion.client.head(path).status_code for _ in range(8)] == [200] * 8, "which take no thread"
    assert len(read_csv(ingestion.get(path).text)) == 30_001


@pytest.mark.parametrize("path", ["errors?limit=1000", "errors.csv"])
def test_many_faults_are_sent_as_gzip_to_whoever_takes_it(ingestion: Service, bad: UUID, path: str) -> None:
    taken, *others = (
        ingestion.client.get(f"/batches/{bad}/{path}", headers={"Accept-Encoding": encoding})
        for encoding in ("gzip", "identity", "gzip; q=0.0", "notgzip")
    )
    assert taken.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in taken.headers["vary"]
    for plain in others:
        assert "content-encoding" not in plain.headers
        assert taken.content == plain.content
        assert taken.num_bytes_downloaded < len(plain.content) / 4
        assert "Accept-Encoding" in plain.headers["vary"]


def test_a_batch_without_faults_has_none_to_tell(ingestion: Service, ledger: Database) -> None:
    published = load_prices(ledger, [(*LANE, "2021-03-01", 1)]).batch
    only_accepted = accepted(post(ingestion, Idempotency_Key="no faults yet"))["batch"]
    for batch in (published, only_accepted):
        assert ingestion.get(f"/batches/{batch}/errors").json() == {
            "errors": [],
            "next": None,
            "not_listed": 0,
        }
        assert ingestion.get(f"/batches/{batch}/errors.csv").text == "file,line,column,value,reason\r\n"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=1", "invalid_after"),
        ("after=", "invalid_after"),
        ("after=99999999999-1", "invalid_after"),
        ("limit=0", "invalid_limit"),
        ("limit=1001", "invalid_limit"),
        ("before=1", "unknown_parameter"),
    ],
)
def test_a_question_that_is_none_is_refused(ingestion: Service, bad: UUID, query: str, code: str) -> None:
    refused(ingestion.get(f"/batches/{bad}/errors?{query}"), 400, code)


def test_the_file_takes_no_parameters(ingestion: Service, bad: UUID) -> None:
    refused(ingestion.get(f"/batches/{bad}/errors.csv?limit=5"), 400, "unknown_parameter")
