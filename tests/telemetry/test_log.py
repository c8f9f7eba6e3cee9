"""Logs: each event a line of JSON, with the ids that it belongs to, whoever logs it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from telemetry.log import bind_request, bound, configure, get_logger
from tests.telemetry.logged import BATCH, Lines


def test_an_event_is_a_line_with_what_it_is_about(lines: Lines) -> None:
    get_logger("rates.test").info("chunk written", rows=3, seconds=0.5)
    line = lines.only()
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {
        "event": "chunk written", "rows": 3, "seconds": 0.5, "level": "info", "logger": "rates.test",
        "service": "loader", "stack": "dev",
    }  # fmt: skip


def test_what_json_has_no_word_for_is_told_as_text(lines: Lines) -> None:
    get_logger("rates.test").info(
        "planned", batch=BATCH, at=datetime(2030, 1, 1, tzinfo=UTC), why=ValueError("x")
    )
    line = lines.only()
    assert (line["batch"], line["at"], line["why"]) == (str(BATCH), "2030-01-01 00:00:00+00:00", "x")


def test_words_of_several_lines_are_one_line(lines: Lines) -> None:
    get_logger("rates.test").warning('odd\nname "of" a file', source="a\r\nb\x00ü")
    assert (lines.only()["event"], lines.only()["source"]) == ('odd\nname "of" a file', "a\r\nb\x00ü")


def test_an_exception_is_told_on_its_line(lines: Lines) -> None:
    try:
        raise ValueError("no such port")
    except ValueError:
        get_logger("rates.test").exception("chunk failed")
    line = lines.only()
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: no such port")


def test_below_info_nothing_is_logged(lines: Lines) -> None:
    get_logger("rates.test").debug("chunk read")
    logging.getLogger("other").debug("detail")
    logging.getLogger("botocore.endpoint").info("detail")
    assert lines.all() == []


def test_what_others_log_joins_in(lines: Lines) -> None:
    with bound(batch=BATCH):
        logging.getLogger("psycopg").warning("connection %s is lost", 7)
    line = lines.only()
    assert (line["event"], line["level"], line["logger"]) == ("connection 7 is lost", "warning", "psycopg")
    assert (line["batch"], line["service"], line["stack"]) == (str(BATCH), "loader", "dev")


def test_ids_stand_on_every_line_until_their_block_ends(lines: Lines) -> None:
    log = get_logger("rates.test")
    with bound(batch=BATCH, request_id=None):
        log.info("one")
        with bound(chunk=3):
            log.info("two")
        with bound(batch="another"):
            log.info("three")
        log.info("four")
    log.info("five")
    found = [(line["event"], line.get("batch"), line.get("chunk")) for line in lines.all()]
    mine = str(BATCH)
    assert found == [
        ("one", mine, None), ("two", mine, "3"), ("three", "another", None), ("four", mine, None),
        ("five", None, None),
    ]  # fmt: skip
    assert all("request_id" not in line for line in lines.all())


def test_a_blocks_request_id_comes_before_that_of_the_context(lines: Lines) -> None:
    log = get_logger("rates.test")
    bind_request("mine")
    with bound(request_id="the sender's"):
        log.info("one")
    log.info("two")
    assert [line["request_id"] for line in lines.all()] == ["the sender's", "mine"]


def test_a_block_without_an_id_does_not_have_that_of_a_block_around(lines: Lines) -> None:
    log = get_logger("rates.test")
    with bound(batch=BATCH, request_id="a sender's"):
        with bound(batch="another", request_id=None):
            log.info("one")
        log.info("two")
    found = [(line["batch"], line.get("request_id")) for line in lines.all()]
    assert found == [("another", None), (str(BATCH), "a sender's")]


def test_ids_go_with_an_error_that_ends_their_block(lines: Lines) -> None:
    with pytest.raises(ValueError, match="away"), bound(batch=BATCH):
        raise ValueError("away")
    get_logger("rates.test").info("next")
    assert "batch" not in lines.only()


def test_ids_are_those_of_the_thread(lines: Lines) -> None:
    """Several chunks are done at once, each by a thread of its own."""
    both = threading.Barrier(2, timeout=10)

    def work(chunk: int) -> None:
        with bound(chunk=chunk):
            both.wait()
            get_logger("rates.test").info("done", mine=str(chunk))
            both.wait()

    threads = [threading.Thread(target=work, args=[chunk]) for chunk in (1, 2)]
    with bound(batch=BATCH):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted((line["chunk"], line["mine"], "batch" in line) for line in lines.all()) == [
        ("1", "1", False),
        ("2", "2", False),
    ]


def test_a_logger_that_was_used_before_says_what_it_was_told_last(lines: Lines) -> None:
    log = get_logger("rates.test")
    log.info("one")
    configure("api", lines)
    log.info("two")
    assert [line["service"] for line in lines.all()] == ["loader", "api"]


def test_a_command_that_is_not_configured_says_what_is_wrong_and_keeps_its_stdout() -> None:
    program = (
        "from telemetry.log import get_logger; from telemetry.metrics import emit; log = get_logger('rates');"
        "emit('counted', {'rows': (1, 'Count')}); log.info('done'); log.warning('away', again_s=2)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert ran.stderr.startswith("event='away' again_s=2 ")
    assert ran.stderr.count("\n") == 1


def test_a_reader_who_has_left_changes_nothing() -> None:
    program = (
        "import sys; from telemetry.log import configure, get_logger; configure('loader');"
        "log = get_logger('rates'); log.info('one'); sys.stdin.read();"
        "log.info('two'); log.info('three'); print('done', file=sys.stderr)"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert '"event": "one"' in process.stdout.readline()
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == "done\n"
    assert process.returncode == 0
