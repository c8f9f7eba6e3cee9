"""What `history` has read of a batch, in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

TOTALS = {"waiting": "wait to be folded", "folding": "being folded", "folded": "folded into the base"}
STAGES = {
    "check": "summed over the chunks",
    "write": "summed over the chunks",
    "publish": "one transaction",
    "wall": "from its beginning to its end, pauses included",
}


def life_lines(batch: dict[str, Any]) -> Iterator[str]:
    """What `one_batch` found, for a person."""
    told = {**what_it_is(batch), **how_it_goes(batch), **who_is_told(batch)}
    for name, value in told.items():
        if value is not None:
            yield f"{name:<14}{value}"
    yield ""
    for name, what in STAGES.items():
        seconds = batch["stages"][name]
        yield f"{name:<14}{'-' if seconds is None else f'{seconds:.3f} s':>12}  {what}"
    yield ""
    width = max((len(event["event"]) for event in batch["events"]), default=0)
    for event in batch["events"]:
        seconds = "" if event["seconds"] is None else f"  {event['seconds']:.3f} s"
        yield f"{moment(event['at'])}  {event['event']:<{width}}  {event['done_by']}{seconds}"


def what_it_is(batch: dict[str, Any]) -> dict[str, str | None]:
    """What it is called, by whom it came, and what became of it."""
    return {
        "batch": str(batch["batch"]),
        "key": batch["key"],
        "state": state_words(batch),
        "failure": batch["failure"],
        "rows": f"{batch['rows']:,} in {chunks_words(batch)}",
        "faults": faults_words(batch),
        "source": batch["source"],
        "sha-256": batch["content_hash"] or "not known",
        "created by": batch["created_by"],
        "request": batch["request_id"],
        "created": moment(batch["created_at"]),
        "ended": moment(batch["ended_at"]),
    }


def how_it_goes(batch: dict[str, Any]) -> dict[str, str | None]:
    """When it ends or has to, and how far its taking back and its totals are."""
    progress, withdrawn_by, thrown_away = (
        batch[name] for name in ("progress", "withdrawn_by", "rows_thrown_away")
    )
    being_withdrawn = withdrawn_by is not None and batch["state"] != "withdrawn"
    reversed_chunks = f"{batch['reversed_chunks']:,} of {batch['chunks']:,} chunks reversed"
    late = "" if batch["late_since"] is None else f", known since {moment(batch['late_since'])} to be missed"
    rate = progress["rows_per_second"]
    return {
        "rate": None if rate is None else f"{rate:,} rows a second",
        "expected end": None if progress["expected_end"] is None else moment(progress["expected_end"]),
        "deadline": None if batch["deadline"] is None else moment(batch["deadline"]) + late,
        "withdrawn by": withdrawn_by,
        "replaces": batch["replaces"] and f"batch {batch['replaces']}",
        "replaced by": batch["replaced_by"] and f"batch {batch['replaced_by']}",
        "withdrawal": f"asked for; {reversed_chunks}" if being_withdrawn else None,
        "totals": TOTALS.get(batch["totals"]),
        "its rows": {None: None, True: "are thrown away", False: "wait to be thrown away"}[thrown_away],
    }


def who_is_told(batch: dict[str, Any]) -> dict[str, str | None]:
    """Whose address it is, and for each outcome whether they know."""
    told = "; ".join(f"{one['outcome']}: {callback_words(one)}" for one in batch["callbacks"])
    return {"callback": batch["callback_url"], "told": told or None}


def state_words(batch: dict[str, Any]) -> str:
    """With how far it is, while it is not all there, and that it is late or a dry run."""
    share = batch["progress"]["share"]
    return ", ".join(
        [
            batch["state"] if share in (None, 1) else f"{batch['state']} ({share:.0%})",
            *(["late"] if batch["late_since"] and batch["state"] == "loading" else []),
            *(["dry run"] if batch["dry_run"] and batch["state"] != "valid" else []),
        ]
    )


def faults_words(batch: dict[str, Any]) -> str:
    """All are counted, by kind too; of each chunk the first are kept one by one."""
    count, kept = batch["error_count"], batch["errors_kept"]
    return f"{count:,}" if kept == count else f"{count:,}, {kept:,} of them kept: the first of each chunk"


def chunks_words(batch: dict[str, Any]) -> str:
    planned = batch["progress"]["chunks_planned"]
    if planned is None:
        return f"{batch['chunks']:,} chunks"
    more = "" if batch["progress"]["planned"] else ", and more to come"
    return f"{batch['chunks']:,} of {planned:,} chunks{more}"


def callback_words(callback: dict[str, Any]) -> str:
    if callback["told_at"] is not None:
        return moment(callback["told_at"])
    if callback["given_up_at"] is not None:
        return f"given up {moment(callback['given_up_at'])}: {callback['answer']}"
    if callback["attempts"] == 0:
        return "not yet"
    attempts, again = callback["attempts"], moment(callback["next_try_at"])
    return f"not yet; attempt {attempts}: {callback['answer']}; again {again}"


def moment(at: datetime | None) -> str:
    return "-" if at is None else at.isoformat(sep=" ", timespec="seconds")
