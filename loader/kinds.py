"""Faults by kind: column, value and reason, with how many rows of a batch have it and which are the first.

`faults` counts those of a chunk; here they are added up, by the ledger for a batch and by `progress` for a
dry run. However many different values there are, some KINDS_KEPT are told apart, and every count is exact:
what one chunk has told apart and another has not goes to the rest of its column and reason.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, TypeAlias

from loader.errors import ErrorKind

KINDS_KEPT = 1_000
FIRST_LINES = 5

Key: TypeAlias = tuple[str | None, str | None, str]  # column, value, reason
# The rest, where there are too many reasons to tell apart; a reason's own rest has None for a value.
OTHERS: Key = (None, None, "other faults, of too many kinds to be told apart")


class Found(NamedTuple):
    """`first_lines` are of `file`, the first of the batch with such a row, whose chunk is `chunk_no`."""

    row_count: int
    file: str
    first_lines: list[int]
    probably_meant: list[str]
    chunk_no: int = 0


Kinds: TypeAlias = dict[Key, Found]


def of_chunk(kinds: Kinds, chunk_no: int) -> Kinds:
    return {key: found._replace(chunk_no=chunk_no) for key, found in kinds.items()}


def added_up(one: Kinds, other: Kinds) -> Kinds:
    """Of different chunks, in whatever order."""
    total: Kinds = {}
    for kinds, beside in ((one, other), (other, one)):
        reasons = {(column, reason) for column, _, reason in beside}
        for key, found in kinds.items():
            add(total, counted_as(key, beside, reasons), found)
    return bounded(total)


def counted_as(key: Key, beside: Kinds, reasons: set[tuple[str | None, str]]) -> Key:
    """The key that faults of this one have among other kinds, where these do not tell it apart."""
    column, _, reason = key
    rest = (column, None, reason)
    if key not in beside and rest in beside:
        return rest
    if OTHERS in beside and (column, reason) not in reasons:
        return OTHERS
    return key


def bounded(kinds: Kinds) -> Kinds:
    """The most frequent told apart, the others as the rest of their reasons."""
    if len(kinds) <= KINDS_KEPT:
        return kinds
    kept = set(sorted(kinds, key=lambda key: rank(kinds[key]))[:KINDS_KEPT])
    of_reasons: Counter[tuple[str | None, str]] = Counter()
    for (column, _, reason), found in kinds.items():
        of_reasons[column, reason] += found.row_count
    told_apart = {reason for reason, _ in of_reasons.most_common(KINDS_KEPT)}
    total: Kinds = {}
    for key, found in kinds.items():
        column, _, reason = key
        rest = (column, None, reason) if (column, reason) in told_apart else OTHERS
        add(total, key if key in kept and rest != OTHERS else rest, found)
    return total


def add(total: Kinds, key: Key, found: Found) -> None:
    known = total.get(key)
    if known is None:
        total[key] = found
        return
    first, second = sorted([known, found], key=lambda one: one.chunk_no)
    lines = first.first_lines
    if first.file == second.file:
        lines = sorted([*lines, *second.first_lines])[:FIRST_LINES]
    total[key] = first._replace(row_count=known.row_count + found.row_count, first_lines=lines)


def rank(found: Found) -> tuple[int, int, int]:
    """The most frequent come first, then what stands first."""
    return -found.row_count, found.chunk_no, found.first_lines[0]


def in_order(kinds: Kinds) -> list[tuple[Key, Found]]:
    return sorted(kinds.items(), key=lambda kind: rank(kind[1]))


def error_kinds(kinds: Kinds) -> list[ErrorKind]:
    return [
        ErrorKind(*key, found.row_count, found.first_lines, found.file, found.probably_meant)
        for key, found in in_order(kinds)
    ]
