"""`python -m local.schema`, which `make schema` runs: writes `database/schema.sql` anew from the migrations.

It migrates a throwaway server and takes pg_dump's word for what came out, without what differs from run to
run. The roles themselves belong to the server and are not in it; their rights are.
"""

import argparse
import os
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import sql

import database
from database.migrate import migrate
from local import LocalError
from local.environment import DATABASE, forget_other_systems
from local.postgres import PostgresServer, free_port

COMMITTED = Path(database.__file__).with_name("schema.sql")
HEAD = "-- What the migrations add up to, written by `make schema`: to read and compare; nothing runs it.\n"
# A session's settings, a version, a random token, and the title over each object, which only repeats it.
NOISE = re.compile(
    r"^(SET .*;|SELECT pg_catalog\.set_config\(.*;|\\(un)?restrict .*|-- Dumped .*|--\n-- .*\n--)\n",
    re.MULTILINE,
)
BLANK_LINES = re.compile(r"\n{3,}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the schema that the migrations add up to.")
    parser.add_argument("--output", type=Path, default=COMMITTED, help="by default database/schema.sql")
    output = parser.parse_args().output
    forget_other_systems()
    with TemporaryDirectory() as folder:
        output.write_text(schema_of_migrations(Path(folder)))


def schema_of_migrations(folder: Path) -> str:
    """The schema of a database made in `folder` by the migrations alone; leaves PG* pointing there."""
    with PostgresServer(folder / "data", free_port(), "throwaway", settings={"fsync": "off"}) as server:
        with server.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        os.environ.update(server.environment(database=DATABASE))
        migrate()
        command = [server.bin_dir / "pg_dump", "--schema-only", "--no-owner"]
        dump = subprocess.run(command, capture_output=True, text=True, check=False)
    if dump.returncode != 0:
        raise LocalError(f"pg_dump failed: {dump.stderr.strip()}")
    return HEAD + "\n" + BLANK_LINES.sub("\n\n", NOISE.sub("", dump.stdout)).strip() + "\n"


if __name__ == "__main__":
    main()
