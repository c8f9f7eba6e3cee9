"""The command line: `loader …` or `python -m loader …`.

Exit codes: 0 done, 1 rejected, 2 usage or configuration, 3 the database or storage could not be reached.
Each command imports what it runs on, so that `--help` and a wrong call wait for none of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from access.errors import AccessError
from database.errors import ConfigurationError, DatabaseError, SchemaMissing
from loader.chunks import CHUNK_BYTES_MAX, CHUNK_ROWS
from loader.errors import ErrorKind, FileRejected, LoaderError, Stopped, UsageError
from loader.near_codes import PORT_REASON
from storage.errors import StorageError, StorageUnavailable
from telemetry.terminal import say, say_json, say_lines, visible

if TYPE_CHECKING:
    from loader.load import Options, Result
    from loader.places import Places
    from loader.sources import Source

REJECTED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
# A terminal shows the most frequent; --json has the rest.
KINDS_PRINTED = 20
HOW_TO_LIST_PORTS = "The ports there are: GET /ports of the API, or psql -c 'SELECT code, name FROM ports'"
CHUNK_MIB_MAX = CHUNK_BYTES_MAX // 1024**2
TABLE_WIDTH = 200  # where there is no terminal to ask
EXIT_CODES: dict[type[Exception], int] = {
    FileRejected: REJECTED,
    UsageError: USAGE,
    ConfigurationError: USAGE,
    SchemaMissing: USAGE,
    Stopped: INTERRUPTED,
    StorageUnavailable: UNREACHABLE,
    AccessError: USAGE,
    StorageError: USAGE,  # an object that is not there, a bucket that lets nobody in
    # The rest may go well the next time: the database was away, or another load of the batch was in between.
    DatabaseError: UNREACHABLE,
    LoaderError: UNREACHABLE,
}


class CommandLine(click.Group):
    """Tells usage errors as JSON too, where that was asked for."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        try:
            return super().main(arguments, *rest, **{**options, "standalone_mode": False})
        except click.UsageError as error:
            if "--json" in arguments:
                print_json({"error": printable(error.format_message())})
            say_usage(error)
            sys.exit(USAGE)
        except click.Abort:  # Ctrl-C, before a command could do something about it
            sys.exit(INTERRUPTED)


def say_usage(error: click.UsageError) -> None:
    """As click would, whatever stands in the arguments."""
    if error.ctx is not None:
        say_lines(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
    say(f"Error: {error.format_message()}", err=True)


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
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
        except (AccessError, DatabaseError, LoaderError, StorageError) as error:
            end(error, next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), **options)
        except KeyboardInterrupt:
            end(Stopped("interrupted"), INTERRUPTED, **options)

    name = body.__name__.rstrip("_")  # `import_` and `load_` give way to Python's and our own
    return main.command(name)(
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(told)
    )


def end(error: Exception, exit_code: int, *, as_json: bool, **_options: Any) -> NoReturn:
    if as_json:
        print_json({"error": str(error)})
    say(f"loader: {error}", err=True)
    sys.exit(exit_code)


@command
def migrate(*, as_json: bool) -> None:
    """Bring the database's schema up to date, as its owner."""
    from database.migrate import migrate as run_migrations

    before, now = run_migrations()
    if as_json:
        print_json({"before": before, "now": now})
    elif before == now:
        say(f"the schema is up to date: {now}")
    else:
        say(f"the schema went from {before or 'nothing'} to {now}")


def telling_options(body: FunctionType) -> FunctionType:
    """The options about what a load tells."""
    rejects = click.option(
        "--rejects",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Where all bad rows go, as CSV to mend and load; removed when there are none.",
    )
    every = click.option("--progress-every", "every_s", type=click.FloatRange(min=0.001), hidden=True)
    return rejects(every(body))


replacing_option = click.option(
    "--replace",
    metavar="[KEY]",
    is_flag=False,
    flag_value="",
    help="Take the place of the published batch of this key or id, in one moment.",
)


def without_key(replace: str | None, files: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """What follows --replace is a file where no other is named."""
    if replace and not files:
        return "", (replace,)
    return replace, tuple(files)


@command
@click.argument("dump", metavar="DUMP", required=False)
@replacing_option
@click.option("--add", is_flag=True, help="Count its prices beside those of another dump.")
@click.option("--places-only", is_flag=True, help="Take its regions and ports alone.")
@telling_options
def import_(
    dump: str | None, *, replace: str | None, add: bool, places_only: bool, as_json: bool, **telling: Any
) -> None:
    """Load a plain pg_dump, its prices as one batch.

    While the prices of another dump are published, say what is meant: --replace it, --add to it, or
    --places-only. Without KEY, --replace means the one dump there is.
    """
    from loader.dump import Dump
    from loader.load import Options

    replace, named = without_key(replace, [dump] if dump else [])
    if not named:
        raise click.UsageError("Missing argument 'DUMP'.")
    if (replace is not None) + add + places_only > 1:
        raise click.UsageError("--replace, --add and --places-only exclude each other: give one of them.")

    def open_dump() -> tuple[Source, Places]:
        source = Dump(named[0])
        if told := source.told():
            say(f"{source.name}: passed over: {told}", err=True)
        return source, source.places

    if places_only:
        if telling["rejects"]:
            raise click.UsageError("--places-only reads no price: leave --rejects out.")
        put_places_in(lambda: open_dump()[1], named[0], as_json=as_json)
    else:
        options = Options(replace=replace, add=add)
        load_and_report(open_dump, options, inputs=named, as_json=as_json, **telling)


@command
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def places(files: tuple[str, ...], *, as_json: bool) -> None:
    """Take in regions and ports: new ones, and new names and places of those there are.

    FILE is CSV with a header, of regions (slug,name,parent_slug) or of ports (code,name,parent_slug), as it
    is or packed; or a dump. Several files are one: a port may lie in a region of another file.
    """
    from loader.place_files import read_places

    put_places_in(lambda: read_places(files), ", ".join(files), as_json=as_json)


def put_places_in(read: Callable[[], Places], name: str, *, as_json: bool) -> None:
    from database.connect import connect, translated_errors
    from loader.places import put_in

    try:
        brought = read()
        with translated_errors(), connect("rates-loader", autocommit=True) as connection:
            changed = put_in(connection, brought, printable(name))
    except FileRejected as rejected:
        end(rejected, REJECTED, as_json=as_json)
    told = {"regions": len(brought.regions), "ports": len(brought.ports), "changed": changed}
    if as_json:
        print_json(told)
        return
    what = f"{counted(told['regions'], 'region')} and {counted(told['ports'], 'port')}"
    say(f"{what} are there; {counted(changed, 'row')} went in or changed")


@command
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--key", help="The batch's name; by default its content is.")
@replacing_option
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Chunks at once; by default what machine and server allow."
)
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, 10_000_000),
    default=CHUNK_ROWS,
    show_default=True,
    help=f"Rows a transaction, as far as {CHUNK_MIB_MAX} MiB hold so many.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
@telling_options
def load_(
    files: tuple[str, ...],
    *,
    replace: str | None,
    rejects: Path | None,
    every_s: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Load files as one batch, whole or not at all.

    FILE is a path, - for standard input, or s3://BUCKET/KEY: CSV with a header, NDJSON or Parquet, as it is
    or packed with gzip or zstd. Without KEY, --replace means the one published batch of the same FILE.
    """
    from loader.load import Options
    from loader.places import Places
    from loader.sources import Files

    replace, named = without_key(replace, files)
    if not named:
        raise click.UsageError("Missing argument 'FILE...'.")
    settled = Options(replace=replace, **options)
    if settled.dry_run and replace is not None:
        raise click.UsageError("--dry-run changes nothing: leave --replace out.")

    def open_files() -> tuple[Source, Places]:
        return Files(named), Places()

    load_and_report(open_files, settled, inputs=named, rejects=rejects, every_s=every_s, as_json=as_json)


def load_and_report(
    open_source: Callable[[], tuple[Source, Places]],
    options: Options,
    *,
    inputs: Sequence[str],
    rejects: Path | None,
    every_s: float | None,
    as_json: bool,
) -> None:
    """Loads, telling about it meanwhile and in the end; a dump may be rejected before there is a batch."""
    from loader.check import Ports, check
    from loader.chunks import FaultChunk
    from loader.kinds import error_kinds
    from loader.load import Result, load
    from loader.progress import Progress, telling
    from loader.rejects import RejectsFile
    from loader.stopping import StopSignal

    # Polars has put its own handler before Python's, one that lets a pipe be read on.
    signal.siginterrupt(signal.SIGINT, True)
    with RejectsFile(rejects, inputs) if rejects else nullcontext() as bad_rows:
        progress = Progress(bad_rows)
        with telling(progress, lambda line: say(line, err=True), as_json=as_json, every_s=every_s):
            try:
                source, places = open_source()
                stop = StopSignal(signal.SIGTERM)
                result = load(source, options, places=places, stop=stop.is_set, progress=progress)
            except FileRejected as rejected:
                progress.note(0, 0, check(FaultChunk(rejected.error), Ports(set()), keep_bad_rows=True))
                result = Result(None, "rejected", 0, 0, [rejected.error], 1, error_kinds(progress.kinds))
    if options.chunk_rows != CHUNK_ROWS and progress.rows_cut_at:
        most = f"about {progress.rows_cut_at:,} rows of this file"
        say(f"--chunk-rows {options.chunk_rows}: a chunk has {CHUNK_MIB_MAX} MiB at most, {most}", err=True)
    report(result, rejects=bad_rows.name if bad_rows and bad_rows.row_bytes else None, as_json=as_json)


@command
def batches(*, as_json: bool) -> None:
    """List the newest batches."""
    from database.connect import connect, translated_errors
    from loader.history import newest_batches
    from loader.show import state_words

    with translated_errors(), connect("rates-loader") as connection:
        found = newest_batches(connection)
    if as_json:
        print_json({"batches": found})
        return
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    table = Table("batch", "state", "rows", "errors", "created", "source", box=None, pad_edge=False)
    for one in found:
        created = f"{one['created_at']:%Y-%m-%d %H:%M:%S}"
        rows, errors = f"{one['rows']:,}", f"{one['error_count']:,}"
        table.add_row(str(one["batch"]), state_words(one), rows, errors, created, visible(one["source"]))
    # A file's name may hold what rich takes for markup.
    text = StringIO()
    width = None if sys.stdout.isatty() else TABLE_WIDTH
    Console(file=text, markup=False, emoji=False, highlight=False, width=width).print(table)
    say_lines(text.getvalue().rstrip("\n"))


@command
@click.argument("batch")
def show(batch: str, *, as_json: bool) -> None:
    """Show the life of a batch, by its id or key, and the first of its faults."""
    from database.connect import connect, translated_errors
    from loader.history import one_batch
    from loader.show import life_lines

    with translated_errors(), connect("rates-loader") as connection:
        found = one_batch(connection, printable(batch))
    if found is None:
        raise UsageError(f"no batch has the id or key {batch!r}; `loader batches` lists them")
    if as_json:
        print_json(found)
        return
    for line in life_lines(found):
        say(line)
    print_kinds(found["error_kinds"])
    if not found["error_kinds"]:  # of a batch that is older than the kinds
        for error in found["errors"][:KINDS_PRINTED]:
            say(str(error), err=True)


@command
@click.argument("batch")
def withdraw(batch: str, *, as_json: bool) -> None:
    """Take a batch, by its id or key, back out of every answer."""
    from database.connect import connect, translated_errors
    from loader.withdraw import withdraw as take_back

    with translated_errors(), connect("rates-loader", autocommit=True) as connection:
        withdrawal = take_back(connection, printable(batch))
    if as_json:
        print_json(withdrawal)
    elif withdrawal.repeat:
        say(f"batch {withdrawal.batch} is withdrawn already; nothing was done")
    else:
        what = f"{withdrawal.rows:,} rows count no more"
        say(f"batch {withdrawal.batch} withdrawn in {withdrawal.seconds:.2f} s: {what}")


@command
@click.option("--workers", type=click.IntRange(1, 64), help="Chunks at once; by default what fits in 256 MB.")
def work(*, workers: int | None, as_json: bool) -> None:
    """Do what the queue brings, until SIGTERM or Ctrl-C.

    The bucket is named by BATCH_BUCKET, the queue by BATCH_QUEUE_URL. It has RATES_TICKETS_MAX messages of a
    batch at most, 32 by default; no more of its chunks are done at once. Callbacks are signed with
    RATES_CALLBACK_SECRET; without it they are left to other workers. It logs as JSON.
    """
    from access.signatures import VARIABLE, CallbackSecrets
    from loader.settings import read_queue_settings

    settings = read_queue_settings()
    # After that, since it takes half a second to import.
    from loader.stopping import StopSignal
    from loader.work import run_worker
    from telemetry.log import configure

    setting = os.environ.get(VARIABLE, "").strip()
    secrets = CallbackSecrets(setting) if setting else None
    configure("loader", sys.stderr if as_json else sys.stdout)
    stop = StopSignal(signal.SIGTERM, signal.SIGINT)
    done = run_worker(stop, settings.storage, secrets, slots=workers, tickets_max=settings.tickets_max)
    if as_json:
        print_json(done)


@command
@click.argument("batch", required=False)
def redrive(batch: str | None, *, as_json: bool) -> None:
    """Go on with batches that were given up, once the cause is mended: with all, or this one.

    Its dead letters go back to the queue, or all there are. BATCH is an id or key.
    """
    from database.connect import connect, translated_errors
    from loader.redrive import redrive as go_on
    from loader.settings import read_queue_settings
    from storage.work_queue import WorkQueue

    settings = read_queue_settings()
    queue, name = WorkQueue(settings.storage.queue_url), None if batch is None else printable(batch)
    with translated_errors(), connect("rates-loader", autocommit=True) as connection:
        redriven = go_on(connection, queue, name, tickets_max=settings.tickets_max)
    if as_json:
        print_json(redriven)
        return
    for found in redriven.batches:
        say(f"batch {found} is loading again")
    if not redriven.batches and not redriven.dead_letters:
        which = "no batch was given up" if batch is None else f"batch {batch} is loading"
        say(f"{which}; nothing was done")
    if redriven.dead_letters:
        say(f"{counted(redriven.dead_letters, 'dead letter')} went back to the queue")


def report(result: Result, *, rejects: str | None, as_json: bool) -> None:
    """Prints how a load ended; exits with 1 when it was rejected. `rejects` is where its bad rows are."""
    if as_json:
        print_json({**vars(result), "rejects": rejects})
    else:
        rows, name = f"{result.rows:,} rows", f"batch {result.batch}"
        match result.state:
            case "published" if result.repeat:
                say(f"{name} is published already: {rows}; nothing was done")
            case "published":
                place = f" in the place of batch {result.replaced}" if result.replaced else ""
                say(f"{name} published{place}: {rows} in {result.seconds:.2f} s")
            case "valid":
                say(f"no fault in {rows}, checked in {result.seconds:.2f} s; nothing was written")
            case _:
                print_kinds(result.error_kinds)
                what = name if result.batch else "the file"
                where = f"; its bad rows are in {rejects}" if rejects else ""
                say(f"{what} was rejected for {faults_of(result)}; no row went in{where}", err=True)
    if result.state == "rejected":
        sys.exit(REJECTED)


def faults_of(result: Result) -> str:
    faults = counted(result.error_count, "fault")
    return f"{faults} in {counted(result.bad_rows, 'row')}" if result.bad_rows else faults


def counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def print_kinds(kinds: list[ErrorKind]) -> None:
    for kind in kinds[:KINDS_PRINTED]:
        say(str(kind), err=True)
    if len(kinds) > KINDS_PRINTED:
        more = kinds[KINDS_PRINTED:]
        rows = counted(sum(kind.count for kind in more), "row")
        say(f"… and {counted(len(more), 'more kind')} of faults, in {rows}; --json has them", err=True)
    if any(kind.reason == PORT_REASON for kind in kinds):
        say(HOW_TO_LIST_PORTS, err=True)


def print_json(value: Any) -> None:
    import msgspec

    say_json(msgspec.json.encode(value))


def printable(argument: str) -> str:
    """An argument of whatever bytes, as text that JSON and the database take."""
    return argument.encode(errors="replace").decode()


if __name__ == "__main__":
    main()
