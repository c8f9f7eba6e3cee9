"""The command line: `loader …` or `python -m loader …`.

Exit codes: 0 done, 1 rejected, 2 usage or configuration, 3 the database or storage could not be reached.
"""

from __future__ import annotations

import signal
import sys
from functools import wraps
from pathlib import Path
from threading import Event
from types import FunctionType
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from database.connect import connect, translated_errors
from database.errors import ConfigurationError, DatabaseError, SchemaMissing
from loader.chunks import CHUNK_ROWS
from loader.dump import Dump
from loader.errors import FileRejected, LoaderError, RowError, Stopped, UsageError
from loader.history import newest_batches, one_batch
from loader.load import WORKERS, Options, Result, load
from loader.publish import ERRORS_SHOWN
from loader.sources import Files
from loader.work import run_worker

REJECTED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
# A terminal shows the first few; --json and `loader show` have the rest.
ERRORS_PRINTED = 20
EXIT_CODES: dict[type[Exception], int] = {
    FileRejected: REJECTED,
    UsageError: USAGE,
    ConfigurationError: USAGE,
    SchemaMissing: USAGE,
    Stopped: INTERRUPTED,
    # The rest may go well the next time: the database was away, or another load of the batch was in between.
    DatabaseError: UNREACHABLE,
    LoaderError: UNREACHABLE,
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Load batches of freight prices into PostgreSQL, whole or not at all.

    The database is named by libpq's PG* variables or DATABASE_URL.
    """


def command(body: FunctionType) -> click.Command:
    """A subcommand with --json, whose known errors become one line and an exit code."""

    @wraps(body)
    def told(**options: Any) -> None:
        try:
            body(**options)
        except (DatabaseError, LoaderError) as error:
            if options["as_json"]:
                print_json({"error": str(error)})
            click.echo(f"loader: {error}", err=True)
            sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
        except KeyboardInterrupt:
            click.echo("loader: interrupted; what is in stays, the same load goes on from there", err=True)
            sys.exit(INTERRUPTED)

    name = body.__name__.rstrip("_")  # `import_` and `load_` give way to Python's and our own
    return main.command(name)(
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(told)
    )


@command
def migrate(*, as_json: bool) -> None:
    """Bring the database's schema up to date, as its owner."""
    from database.migrate import migrate as run_migrations  # noqa: PLC0415  # SQLAlchemy, half a second

    before, now = run_migrations()
    if as_json:
        print_json({"before": before, "now": now})
    elif before == now:
        click.echo(f"the schema is up to date: {now}")
    else:
        click.echo(f"the schema went from {before or 'nothing'} to {now}")


@command
@click.argument("dump", type=click.Path(path_type=Path))
def import_(dump: Path, *, as_json: bool) -> None:
    """Load a plain pg_dump: its regions and ports, and its prices as one batch."""
    try:
        source = Dump(dump)
        result = load(source, Options(), places=source.places)
    except FileRejected as rejected:
        result = Result(None, "rejected", 0, 0, [rejected.error], 1)
    report(result, as_json=as_json)


@command
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--key", help="The batch's name; by default its content is.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=WORKERS, show_default=True, help="Chunks at once."
)
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, 10_000_000),
    default=CHUNK_ROWS,
    show_default=True,
    help="Rows a transaction.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
def load_(files: tuple[Path, ...], *, as_json: bool, **options: Any) -> None:
    """Load CSV files as one batch: all rows go in, or none and the reasons."""
    report(load(Files(list(files)), Options(**options)), as_json=as_json)


@command
def batches(*, as_json: bool) -> None:
    """List the newest batches."""
    with translated_errors(), connect("rates-loader") as connection:
        found = newest_batches(connection)
    if as_json:
        print_json({"batches": found})
        return
    table = Table("batch", "state", "rows", "errors", "created", "source", box=None, pad_edge=False)
    for one in found:
        created = f"{one['created_at']:%Y-%m-%d %H:%M:%S}"
        rows, errors = f"{one['rows']:,}", f"{one['error_count']:,}"
        table.add_row(str(one["batch"]), one["state"], rows, errors, created, one["source"])
    Console().print(table)


@command
@click.argument("batch")
def show(batch: str, *, as_json: bool) -> None:
    """Show one batch, by its id or key, and the first of its faults."""
    with translated_errors(), connect("rates-loader") as connection:
        found = one_batch(connection, batch)
    if found is None:
        raise UsageError(f"no batch has the id or key {batch!r}; `loader batches` lists them")
    if as_json:
        print_json(found)
        return
    errors = found.pop("errors")
    for name, value in found.items():
        click.echo(f"{name:<13}{'-' if value is None else value}")
    print_errors(errors, found["error_count"])


@command
def work(*, as_json: bool) -> None:
    """Keep answers quick behind the loads, until SIGTERM or Ctrl-C."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    folded = run_worker(stop, say=lambda line: click.echo(line, err=as_json))
    if as_json:
        print_json({"folded": folded})


def report(result: Result, *, as_json: bool) -> None:
    """Prints how a load ended; exits with 1 when it was rejected."""
    if as_json:
        print_json(msgspec.to_builtins(result))
    else:
        rows, name = f"{result.rows:,} rows", f"batch {result.batch}"
        match result.state:
            case "published" if result.repeat:
                click.echo(f"{name} is published already: {rows}; nothing was done")
            case "published":
                click.echo(f"{name} published: {rows} in {result.seconds:.2f} s")
            case "valid":
                click.echo(f"no fault in {rows}, checked in {result.seconds:.2f} s; nothing was written")
            case _:
                print_errors(result.errors, result.error_count)
                what = name if result.batch else "the file"
                faults = "1 fault" if result.error_count == 1 else f"{result.error_count:,} faults"
                click.echo(f"{what} was rejected for {faults}; no row went in", err=True)
    if result.state == "rejected":
        sys.exit(REJECTED)


def print_errors(errors: list[RowError], error_count: int) -> None:
    for error in errors[:ERRORS_PRINTED]:
        click.echo(str(error), err=True)
    if error_count > ERRORS_PRINTED:
        click.echo(
            f"… and {error_count - ERRORS_PRINTED:,} more; --json has the first {ERRORS_SHOWN:,}", err=True
        )


def print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


if __name__ == "__main__":
    main()
