"""Twenty mistakes that a person could make, one a file: `python -m tests.faults` has the tests find each."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """`old` stands once in `file`; with `new` in its place, `breaks` no longer holds."""

    file: str
    old: str
    new: str
    breaks: str


FAULTS = [
    Fault("api/totals.py", "PRICES_MIN = 3", "PRICES_MIN = 2", "fewer than three prices are no average"),
    Fault(
        "api/rates.py",
        "range(date_to.toordinal(), date_from.toordinal() - 1, -1)",
        "range(date_to.toordinal(), date_from.toordinal(), -1)",
        "the first day of a range belongs to it",
    ),
    Fault(
        "api/answers.py",
        "if answer is None or answer.version != newest:",
        "if answer is None:",
        "an answer in memory is of the newest data",
    ),
    Fault(
        "api/bearers.py",
        "if not token.may(scope):",
        "if not token.scopes:",
        "a token does what its scopes allow alone",
    ),
    Fault(
        "api/limits.py",
        "text = told[-proxies] if",
        "text = told[0] if",
        "a client cannot choose the address that it is counted under",
    ),
    Fault(
        "loader/check.py",
        "pl.when((PRICE >= 1) &",
        "pl.when((PRICE >= 0) &",
        "a price is above 0",
    ),
    Fault(
        "loader/publish.py",
        "if chunks_in != brought.chunk_count:",
        "if chunks_in > brought.chunk_count:",
        "a batch is published whole",
    ),
    Fault(
        "loader/others.py",
        "if replaced_by not in {None, (None,), (batch.id,)}:",
        "if replaced_by is None:",
        "of two that replace one batch, one goes in",
    ),
    Fault(
        "loader/schedule.py",
        "ledger_only = batch.dry_run or is_faulty(connection, batch)",
        "ledger_only = is_faulty(connection, batch)",
        "a dry run writes no price",
    ),
    Fault(
        "loader/callbacks.py",
        "told=200 <= status < 300",
        "told=200 <= status < 400",
        "a receiver that redirects was not told",
    ),
    Fault("loader/dump.py", '"t": "\\t"', '"t": "t"', "a name in a dump is unescaped as PostgreSQL does"),
    Fault(
        "loader/rejects.py",
        "        if self.row_bytes:\n",
        "        if True:\n",
        "a load without bad rows leaves no file of them",
    ),
    Fault(
        "infra/security_groups.py",
        "        security_group_id=target_id,\n        referenced_security_group_id=source_id,",
        "        security_group_id=target_id,\n        cidr_ipv4=ANYWHERE,",
        "the internet reaches the load balancer alone",
    ),
    Fault(
        "infra/timeouts.py",
        "DEREGISTRATION_S = 60",
        "DEREGISTRATION_S = 20",
        "a request outlives the leaving of its task",
    ),
    Fault(
        "infra/load_balancer.py",
        "enable_deletion_protection=settings.production",
        "enable_deletion_protection=False",
        "production's load balancer is not deleted by a slip",
    ),
    Fault(
        "infra/alarms.py",
        "treat_missing_data=alarm.missing",
        "treat_missing_data=FINE",
        "an alarm goes off where nothing reports any more",
    ),
    Fault(
        "infra/database.py", '"rds.force_ssl": "1"', '"rds.force_ssl": "0"', "the database takes TLS alone"
    ),
    Fault("local/state.py", "mode=0o600", "mode=0o644", "secrets are for their owner's eyes"),
    Fault(
        "local/environment.py",
        '"BATCH_BUCKET": BUCKET,',
        '"BATCH_BUCKET": DATABASE,',
        "API, loader and shell use the stack's own bucket",
    ),
    Fault(
        "storage/messages.py",
        "unquote_plus(record",
        "str(record",
        "keys in S3's events are encoded as in a form",
    ),
    Fault(
        "storage/work_queue.py",
        "min(count, AT_ONCE_MAX)",
        "count",
        "SQS is asked for ten messages at most",
    ),
]
