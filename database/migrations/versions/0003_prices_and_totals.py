"""prices and totals"""

from database.migrate import run_sql_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Applies the .sql file of the same name."""
    run_sql_beside(__file__)
