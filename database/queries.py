"""SQL as files: a package keeps one query a file in its `sql/` folder, named after what it does."""

from functools import cache
from importlib import resources


@cache
def query(package: str, name: str) -> bytes:
    """The text of `package/sql/name.sql`; bytes, since psycopg takes no `str` made at run time."""
    return resources.files(package).joinpath("sql", f"{name}.sql").read_bytes()
