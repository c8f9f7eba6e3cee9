"""What a load tells while it runs: a bar on a terminal, else a line now and then; nothing of a quick one."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl
import pytest

from loader.check import CheckedChunk
from loader.load import Options, load
from loader.progress import RATE_OVER_S, Progress, Standing, clock, json_line, plain_line
from loader.sources import Files
from tests.loader.batches import TIMEOUT_S, begin, chunk_held, command, environment, make_rows, run, write_csv
from tests.loader.dumps import dump_text, write_dump
from tests.postgres import Database

KEYS = {"stage", "rows", "rows_per_second", "share", "seconds_left", "chunks", "error_count"}
LINE = re.compile(
    r"\d\d:\d\d:\d\d (?:"
    r"(?:reading|publishing).*|loading (\d+)%: [\d,]+ rows, [\d,]+ rows/s(, \d+:\d\d left)?)"
)
OFTEN = ("--progress-every", "0.002")
LONG = ("--chunk-rows", "20", "--workers", "2")
SHOW_CURSOR = "\x1b[?25h"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "prices.csv", make_rows(2000))


# --- lines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["person", "json"])
def test_a_quick_load_is_silent(as_json: list[str], ports: Database, path: Path) -> None:
    assert run("load", path, *as_json, database=ports).stderr == ""


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=["load", "dry run"])
def test_a_long_one_tells_how_far_it_is(dry_run: list[str], ports: Database, path: Path) -> None:
    done = run("load", path, *LONG, *OFTEN, *dry_run, database=ports)
    assert done.returncode == 0
    lines = [LINE.fullmatch(line) for line in done.stderr.splitlines()]
    assert len(lines) > 2
    assert all(lines), done.stderr
    shares = [int(line[1]) for line in lines if line and line[1]]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 100
    assert done.stdout.count("\n") == 1


def test_with_json_each_line_is_an_object_and_stdout_has_the_result_alone(
    ports: Database, path: Path
) -> None:
    done = run("load", path, *LONG, *OFTEN, "--json", database=ports)
    assert msgspec.json.decode(done.stdout)["state"] == "published"
    told = [msgspec.json.decode(line)["progress"] for line in done.stderr.splitlines()]
    assert len(told) > 2
    assert all(one.keys() == KEYS for one in told)
    for name in ("rows", "chunks"):
        counts = [one[name] for one in told]
        assert counts == sorted(counts)
        assert counts[-1] > 0
    halfway = next(one for one in told if one["rows"] and one["stage"] == "loading")
    assert halfway["rows_per_second"] > 0
    assert 0 < halfway["share"] <= 1
    assert halfway["seconds_left"] >= 0
    assert halfway["rows"] == pytest.approx(20 * halfway["chunks"])


def test_an_import_tells_too_and_that_it_reads_first(as_loader: Database, tmp_path: Path) -> None:
    prices = [("CNSGH", "NLRTM", "2021-01-01", 100)] * 200_000
    path = write_dump(tmp_path / "dump.sql", dump_text(prices=prices))
    done = run("import", path, "--progress-every", "0.005", "--json", database=as_loader)
    told = [msgspec.json.decode(line)["progress"] for line in done.stderr.splitlines()]
    assert told[0]["stage"] == "reading"
    assert told[0]["share"] is None
    assert {one["stage"] for one in told} >= {"reading", "loading"}


def test_a_reader_of_the_lines_who_leaves_does_not_end_the_load(ports: Database, path: Path) -> None:
    with begin("load", path, *LONG, *OFTEN, database=ports) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert " published: 2,000 rows in " in process.stdout.read()
        assert process.wait(TIMEOUT_S) == 0


# --- a bar -------------------------------------------------------------------------------------------------


class Terminal:
    """One that a load has for its stderr, and all that was written on it."""

    def __init__(self) -> None:
        self.end, self.load_end = pty.openpty()
        self.text = ""
        self._decoder = getincrementaldecoder("utf-8")()  # a read may end within a character of the bar
        self.open = True

    def read_until(self, condition: Callable[[str], bool]) -> None:
        """Until the condition holds of all text, or the load has closed its end."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition(self.text):
            assert time.monotonic() < deadline, self.text
            if not select.select([self.end], [], [], TIMEOUT_S)[0]:
                continue
            try:
                data = os.read(self.end, 65536)
            except OSError:  # how Linux tells that nobody has the other end
                return
            self.text += self._decoder.decode(data)

    def leave(self) -> None:
        os.close(self.end)
        self.open = False


@contextmanager
def on_terminal(
    *arguments: str | Path, database: Database, term: str = "xterm-256color"
) -> Generator[tuple[subprocess.Popen[str], Terminal]]:
    terminal = Terminal()
    named = environment(database, TERM=term, COLUMNS="100")
    process = subprocess.Popen(
        command(*arguments), env=named, stdout=subprocess.PIPE, stderr=terminal.load_end, text=True
    )
    os.close(terminal.load_end)
    with process:
        try:
            yield process, terminal
        finally:
            process.kill()
    if terminal.open:
        terminal.leave()


def test_on_a_terminal_it_is_a_bar_that_is_gone_in_the_end(ports: Database, path: Path) -> None:
    with on_terminal("load", path, *LONG, *OFTEN, database=ports) as (process, terminal):
        terminal.read_until(lambda _: False)
        assert process.stdout is not None
        assert process.stdout.read().endswith(" s\n")
        assert process.wait(TIMEOUT_S) == 0
    assert "━" in terminal.text
    told = re.findall(r"(\d+)%  ([\d,]+) rows  ([\d,]+) rows/s", terminal.text)
    assert len(told) > 2
    assert [int(share) for share, _, _ in told] == sorted(int(share) for share, _, _ in told)
    assert re.search(r"\d:\d\d left", terminal.text)
    assert SHOW_CURSOR in terminal.text
    assert terminal.text.endswith("\x1b[2K"), "the line is not empty in the end"


def test_faults_are_counted_beside_the_bar(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [row._replace(price=0) for row in make_rows(2000)])
    with on_terminal("load", path, *LONG, *OFTEN, database=ports) as (process, terminal):
        terminal.read_until(lambda _: False)
        assert process.wait(TIMEOUT_S) == 1
    assert re.search(r"[\d,]+ faults", terminal.text)
    assert "was rejected for 2,000 faults in 2,000 rows; no row went in" in terminal.text


def test_ctrl_c_gives_the_terminal_back_as_it_was(ports: Database, path: Path) -> None:
    with on_terminal("load", path, *LONG, *OFTEN, database=ports) as (process, terminal):
        with chunk_held(ports, 50):
            terminal.read_until(lambda text: "rows/s" in text)
            process.send_signal(signal.SIGINT)
        terminal.read_until(lambda _: False)
        assert process.wait(TIMEOUT_S) == 130
    assert terminal.text.index(SHOW_CURSOR) < terminal.text.index("loader: interrupted; ")
    assert "Traceback" not in terminal.text


def test_a_terminal_that_goes_away_does_not_end_the_load(ports: Database, path: Path) -> None:
    with on_terminal("load", path, *LONG, *OFTEN, database=ports) as (process, terminal):
        terminal.read_until(lambda text: "rows/s" in text)
        terminal.leave()
        assert process.stdout is not None
        assert " published: 2,000 rows in " in process.stdout.read()
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize(("term", "as_json"), [("dumb", []), ("xterm", ["--json"])])
def test_a_terminal_that_cannot_draw_and_a_machine_get_lines(
    term: str, as_json: list[str], ports: Database, path: Path
) -> None:
    arguments = ("load", path, *LONG, *OFTEN, *as_json)
    with on_terminal(*arguments, database=ports, term=term) as (process, terminal):
        terminal.read_until(lambda _: False)
        assert process.wait(TIMEOUT_S) == 0
    assert "\x1b" not in terminal.text
    lines = terminal.text.splitlines()
    assert len(lines) > 2
    assert all(line.startswith('{"progress":') if as_json else LINE.fullmatch(line) for line in lines)


# --- what is counted ---------------------------------------------------------------------------------------


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def checked(rows: int, faults: int = 0) -> CheckedChunk:
    return CheckedChunk(pl.DataFrame(), rows, [], faults, bad_row_count=faults)


def test_rate_and_time_left_are_of_the_last_while(at: Callable[[float], None]) -> None:
    at(0)
    progress = Progress()
    assert progress.standing() == Standing("reading", 0, 0, None, None, 0, 0)
    at(60)
    progress.begin("loading", 1000)
    assert progress.standing() == Standing("loading", 0, 0, 0.0, None, 0, 0)
    at(62)
    progress.note(0, 100, checked(50))
    assert progress.standing() == Standing("loading", 50, 25, 0.1, 18, 1, 0)
    at(64)
    progress.note(1, 200, checked(50))
    assert progress.standing() == Standing("loading", 100, 25, 0.2, 16, 2, 0)
    at(64 + 2 * RATE_OVER_S)  # as slow as it has become
    progress.note(2, 300, checked(50))
    at(64 + 4 * RATE_OVER_S)
    progress.note(3, 400, checked(60, faults=3))
    assert progress.standing() == Standing("loading", 210, 1, 0.4, 360, 4, 3)


def test_a_load_that_stands_still_does_not_promise_its_end(at: Callable[[float], None]) -> None:
    at(0)
    progress = Progress()
    progress.begin("loading", 1000)
    at(1)
    progress.note(0, 500, checked(50))
    assert progress.standing().seconds_left == 1
    at(1000)
    assert progress.standing().seconds_left == 1000
    assert progress.standing().rows_per_second == 0


def test_chunks_that_end_out_of_order_do_not_move_it_back() -> None:
    progress = Progress()
    progress.begin("loading", 1000)
    for chunk_no, position in ((1, 200), (0, 100)):
        progress.note(chunk_no, position, checked(10))
        assert progress.standing().share == 0.2


def test_a_chunk_that_is_seen_twice_counts_once() -> None:
    progress = Progress()
    for result in (None, checked(10, faults=2), checked(10, faults=2)):
        progress.note(0, 0, result)
    assert (progress.rows, progress.bad_rows, progress.error_count, len(progress.ended)) == (10, 2, 2, 1)


def test_a_source_of_unknown_size_has_no_share() -> None:
    progress = Progress()
    progress.begin("loading", None)
    progress.note(0, 100, checked(10))
    standing = progress.standing()
    assert (standing.share, standing.seconds_left) == (None, None)
    assert msgspec.json.decode(json_line(standing))["progress"]["share"] is None
    assert re.fullmatch(r"\d\d:\d\d:\d\d loading: 10 rows, [\d,]+ rows/s", plain_line(standing))


@pytest.mark.parametrize(("seconds", "told"), [(0, "0:00"), (61, "1:01"), (3600, "1:00:00")])
def test_time_left_is_told_as_on_a_clock(seconds: int, told: str) -> None:
    assert clock(seconds) == told


def test_a_load_has_read_all_of_its_source_in_the_end(ports: Database, path: Path) -> None:
    progress = Progress()
    load(Files([path]), Options(chunk_rows=100), progress=progress)
    assert progress.standing()[:1] + progress.standing()[3:4] == ("publishing", 1.0)
    assert (progress.rows, len(progress.ended)) == (2000, 20)
