"""fault kinds"""

from database.migrate import run_sql_beside

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Applies the .sql file of the same name."""
    run_sql_beside(__file__)
