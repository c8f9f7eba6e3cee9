"""regions and ports"""

from database.migrate import run_sql_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Applies the .sql file of the same name."""
    run_sql_beside(__file__)
