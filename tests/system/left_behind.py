"""What may not be there when nobody is at work, whatever was killed before."""

from __future__ import annotations

from tests.loader.batches import DIFFERENCES
from tests.postgres import Database

THIS = "(SELECT oid FROM pg_database WHERE datname = current_database())"
QUERIES = {
    "answers that are not what the published prices add up to": DIFFERENCES,
    "advisory locks": f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = {THIS}",
    "prepared transactions": "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
    "rows of no batch": """
        SELECT DISTINCT batch_no FROM prices
        WHERE batch_no NOT IN (SELECT batch_no FROM batches UNION SELECT batch_no FROM discards)
    """,
    "totals of no batch": """
        SELECT DISTINCT posting_no FROM lane_month_deltas
        WHERE abs(posting_no) NOT IN (SELECT batch_no FROM batches UNION SELECT batch_no FROM discards)
    """,
    "chunks in the ledger whose rows are others": """
        SELECT batch_no, chunk_no, chunks.row_count, found FROM batches JOIN (
            chunks FULL JOIN (
                SELECT batch_no, chunk_no, count(*) AS found FROM prices GROUP BY batch_no, chunk_no
            ) AS rows_in USING (batch_no, chunk_no)
        ) USING (batch_no)
        WHERE state IN ('loading', 'published') AND chunks.row_count IS DISTINCT FROM found
    """,
    "batches published or withdrawn twice": """
        SELECT batch_id, event FROM batch_events WHERE event IN ('published', 'withdrawn')
        GROUP BY batch_id, event HAVING count(*) > 1
    """,
    "a data version that did not count each change of the answers": """
        SELECT version FROM data_version
        WHERE version <> (SELECT count(*) FROM batch_events WHERE event IN ('published', 'withdrawn'))
    """,
}


def left_behind(database: Database) -> dict[str, list[tuple]]:
    """What is there all the same, by what it is."""
    return {what: rows for what, query in QUERIES.items() if (rows := database.rows(query))}
