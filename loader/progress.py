"""What a load knows of itself while it runs, and tells: a bar on a terminal, elsewhere a line now and then.

`load` counts into a Progress as its chunks end; a thread of `telling` looks at it and writes.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import msgspec

from loader.check import CheckedChunk
from loader.errors import RowError
from loader.kinds import Kinds, added_up, of_chunk
from loader.publish import ERRORS_SHOWN
from loader.rejects import RejectsFile

TELL_EVERY_S = 5.0
REDRAW_EVERY_S = 0.2  # a load that is over by then shows no bar
# Far enough back to be steady, near enough to notice a server that has become slow.
RATE_OVER_S = 30.0
STDERR = 2


class Sample(NamedTuple):
    """How far a load was at a time, of the monotonic clock."""

    at: float
    rows: int
    position: int


class Standing(NamedTuple):
    """How far a load is. `share` is of the bytes; None, as `seconds_left`, while it cannot be told."""

    stage: str
    rows: int
    rows_per_second: int
    share: float | None
    seconds_left: int | None
    chunks: int
    error_count: int


@dataclass
class Progress:
    """What the chunks of one call of `load` have shown so far.

    `rows`, `bad_rows` and `error_count` are of the chunks it checked itself; `ended` are all chunks that are
    done with, those that another call is `busy` with among them.
    """

    rejects: RejectsFile | None = None
    stage: str = "reading"
    size: int | None = None  # of the source, in bytes
    rows: int = 0
    bad_rows: int = 0
    error_count: int = 0
    first_errors: list[tuple[int, RowError]] = field(default_factory=list)  # with the number of their chunk
    kinds: Kinds = field(default_factory=dict)
    faulty: bool = False
    rows_cut_at: int | None = None  # of a chunk that would have more bytes than a chunk may, with more rows
    ended: set[int] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)
    checked: set[int] = field(default_factory=set)
    samples: deque[Sample] = field(default_factory=lambda: deque([Sample(time.monotonic(), 0, 0)]))

    def begin(self, stage: str, size: int | None) -> None:
        """From here on chunks end; what came before says nothing about how quick they are."""
        self.stage, self.size = stage, size
        self.samples.append(Sample(time.monotonic(), self.rows, self.samples[-1].position))
        self.samples.popleft()

    def note(self, chunk_no: int, position: int, checked: CheckedChunk | None) -> None:
        """A chunk has ended, with the source read up to `position`; None where there was nothing to check."""
        self.ended.add(chunk_no)
        if checked is not None and chunk_no not in self.checked:
            self.checked.add(chunk_no)
            self.count(chunk_no, checked)
        if self.rejects is not None:
            self.rejects.add(chunk_no, checked.bad_rows_csv if checked else b"")
        now = time.monotonic()
        self.samples.append(Sample(now, self.rows, max(position, self.samples[-1].position)))
        while len(self.samples) > 2 and self.samples[1].at < now - RATE_OVER_S:
            self.samples.popleft()

    def count(self, chunk_no: int, checked: CheckedChunk) -> None:
        self.rows += checked.row_count
        self.bad_rows += checked.bad_row_count
        if checked.error_count:
            self.faulty = True
            self.error_count += checked.error_count
            self.kinds = added_up(self.kinds, of_chunk(checked.kinds, chunk_no))
            known = self.first_errors + [(chunk_no, error) for error in checked.errors]
            # By chunk, whatever order they end in; within one they are in the order of its lines.
            self.first_errors = sorted(known, key=itemgetter(0))[:ERRORS_SHOWN]

    @property
    def chunks_in(self) -> Set[int]:
        return self.ended - self.busy

    def standing(self) -> Standing:
        """May be asked by another thread than the one that counts."""
        first, last, now = self.samples[0], self.samples[-1], time.monotonic()
        spent_s = max(now - first.at, 0.001)
        share = min(last.position / self.size, 1.0) if self.size else None
        bytes_per_second = (last.position - first.position) / spent_s
        seconds_left = (
            round(max(self.size - last.position, 0) / bytes_per_second)
            if self.size and bytes_per_second
            else None
        )
        rows_per_second = round((last.rows - first.rows) / spent_s)
        shown = None if share is None else round(share, 4)
        chunks = len(self.ended)
        return Standing(self.stage, last.rows, rows_per_second, shown, seconds_left, chunks, self.error_count)


@contextmanager
def telling(
    progress: Progress, say: Callable[[str], None], *, as_json: bool, every_s: float | None = None
) -> Generator[None]:
    """Tells about `progress` on stderr, by lines through `say`, until the block ends."""
    over = threading.Event()
    if not as_json and is_terminal():
        arguments = (progress, over, every_s or REDRAW_EVERY_S)
        teller = threading.Thread(target=draw_bar, args=arguments, name="progress", daemon=True)
    else:
        arguments = (progress, over, every_s or TELL_EVERY_S, say, json_line if as_json else plain_line)
        teller = threading.Thread(target=tell_lines, args=arguments, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def is_terminal() -> bool:
    """Whether stderr is one that a bar can be drawn on, again and again in its place."""
    return os.isatty(STDERR) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def tell_lines(
    progress: Progress,
    over: threading.Event,
    every_s: float,
    say: Callable[[str], None],
    line: Callable[[Standing], str],
) -> None:
    while not over.wait(every_s):
        say(line(progress.standing()))


def json_line(standing: Standing) -> str:
    return msgspec.json.encode({"progress": standing._asdict()}).decode()


def plain_line(standing: Standing) -> str:
    share = "" if standing.share is None else f" {standing.share:.0%}"
    left = "" if standing.seconds_left is None else f", {clock(standing.seconds_left)} left"
    faults = f", {standing.error_count:,} faults" if standing.error_count else ""
    rows = f"{standing.rows:,} rows{faults}, {standing.rows_per_second:,} rows/s{left}"
    return f"{time.strftime('%H:%M:%S')} {standing.stage}{share}: {rows}"


def clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def draw_bar(progress: Progress, over: threading.Event, every_s: float) -> None:
    """One line in its place, gone when the load is over. A terminal that goes away ends it, not the load."""
    if over.wait(every_s):
        return
    from rich import progress as bars  # noqa: PLC0415  # 50 ms that a quick load need not wait for
    from rich.console import Console  # noqa: PLC0415  # likewise

    columns = [
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TextColumn("{task.fields[told]}"),
    ]
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with (
        suppress(OSError),
        bars.Progress(
            *columns,
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as bar,
    ):
        task = bar.add_task(progress.stage, total=None, told="")
        while True:
            standing = progress.standing()
            share, total = (0.0, None) if standing.share is None else (standing.share, 1.0)
            bar.update(
                task, description=standing.stage, completed=share, total=total, told=beside_bar(standing)
            )
            bar.refresh()
            if over.wait(every_s):
                return


def beside_bar(standing: Standing) -> str:
    share = [] if standing.share is None else [f"{standing.share:4.0%}"]
    faults = [f"{standing.error_count:,} faults"] if standing.error_count else []
    left = [] if standing.seconds_left is None else [f"{clock(standing.seconds_left)} left"]
    rows = [f"{standing.rows:,} rows", f"{standing.rows_per_second:,} rows/s"]
    return "  ".join([*share, *rows, *faults, *left])
