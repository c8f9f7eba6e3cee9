"""What is wrong with the rows of a chunk, found as columns: the first faults, all by kind, lines of rejects.

`check` has typed the values and knows which rows are bad. What the rules are, one row after the other, is
written in the tests (`tests/loader/judged_by_rows.py`), which hold both against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from io import BytesIO

import polars as pl

from loader.chunks import COLUMNS
from loader.errors import RowError
from loader.formats.split import SplitLines
from loader.kinds import FIRST_LINES, KINDS_KEPT, OTHERS, Found, Key, Kinds, add, bounded
from loader.near_codes import PORT_REASON, NearCodes
from loader.rejects import write_rejects

# Far outside of any quote, near enough to catch a slip of the year.
DAY_MIN = date(1970, 1, 1)
DAY_MAX = date(2099, 12, 31)
PRICE_MAX = 2**31 - 1  # what the column holds, in USD

DAY_REASON = f"expected a day as YYYY-MM-DD from {DAY_MIN} to {DAY_MAX}"
NO_DAY_REASON = "no such day: the calendar does not have it"
PRICE_REASON = f"expected a whole number of USD from 1 to {PRICE_MAX}, in plain digits"
MISSING_REASON = "missing: a value is expected"
# Spelled as a day of a year that is allowed.
LIKE_A_DAY = "^(?:19[7-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}$"
# Only these many errors of a chunk are kept in full; all are counted.
ERRORS_KEPT = 1_000
VALUE_CHARS_MAX = 200
# So many lines are spelled out at a time: their reasons take far more memory than their values.
REJECTS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Rule:
    """`broken` is of a row with COLUMNS as spelled, and `bad_…` for each whether it is no good value."""

    column: str
    reason: str
    broken: pl.Expr


def bad(column: str) -> pl.Expr:
    return pl.col(f"bad_{column}") & pl.col(column).is_not_null()


IS_LIKE_A_DAY = pl.col("day").str.contains(LIKE_A_DAY)
NOTHING = pl.lit(None, pl.String)
# The most frequent first, then what stands first.
RANK = (-pl.col("row_count"), pl.col("first_lines").list.first())
KEY = ("column", "value", "reason")
SUMMED = (pl.col("row_count").sum(), pl.col("first_lines").explode().sort().head(FIRST_LINES))
# In the order in which the faults of a row are told; a value breaks one of them at most.
RULES = (
    *(Rule(column, MISSING_REASON, pl.col(column).is_null()) for column in COLUMNS),
    Rule("orig_code", PORT_REASON, bad("orig_code")),
    Rule("dest_code", PORT_REASON, bad("dest_code")),
    Rule("day", NO_DAY_REASON, bad("day") & IS_LIKE_A_DAY),
    Rule("day", DAY_REASON, bad("day") & ~IS_LIKE_A_DAY),
    Rule("price", PRICE_REASON, bad("price")),
)


class Faults:
    """Of the lines of a chunk. `typed` is its rows' values as they go in, null where one is no good.

    rows: line, COLUMNS as spelled, and for each rule by its number whether the row breaks it.
    """

    def __init__(self, file: str, lines: SplitLines, typed: pl.DataFrame) -> None:
        self.file = file
        self.lines = lines.faults
        is_bad = typed.select(pl.all().is_null().name.prefix("bad_"))
        marked = pl.concat([lines.rows, is_bad], how="horizontal").filter(pl.any_horizontal(is_bad.columns))
        broken = [rule.broken.alias(str(number)) for number, rule in enumerate(RULES)]
        self.rows = marked.select("line", *COLUMNS, *broken)
        # By the number of its rule, the line and value of each fault.
        self.values = {
            number: self.rows.filter(pl.col(str(number))).select("line", cut(rule.column).alias("value"))
            for number, rule in enumerate(RULES)
            if self.rows[str(number)].any()
        }

    @property
    def row_count(self) -> int:
        return self.rows.height + self.lines.height

    @property
    def count(self) -> int:
        return self.lines.height + sum(values.height for values in self.values.values())

    def first(self) -> list[RowError]:
        """The first ERRORS_KEPT, in the order of the lines."""
        of_values = [
            values.head(ERRORS_KEPT).with_columns(
                number=number, column=pl.lit(RULES[number].column), reason=pl.lit(RULES[number].reason)
            )
            for number, values in self.values.items()
        ]
        of_lines = self.lines.head(ERRORS_KEPT).with_columns(cut("value"), number=0)
        told = ["line", "column", "value", "reason"]
        found = pl.concat(
            [one.select(*told, pl.col("number").cast(pl.Int32)) for one in [of_lines, *of_values]]
        )
        first = found.sort("line", "number").head(ERRORS_KEPT)
        return [RowError(self.file, *fault) for fault in first.select(told).iter_rows()]

    def kinds(self, near: NearCodes) -> Kinds:
        """All of them, counted. Of too many, the most frequent are told apart, the rest by their reasons."""
        total: Kinds = {}
        for number, values in self.values.items():
            column, reason = RULES[number].column, RULES[number].reason
            kinds = counted(values, "value")
            for value, row_count, first_lines in kinds.head(KINDS_KEPT).iter_rows():
                meant = near.of(value) if reason == PORT_REASON and value is not None else []
                add(total, (column, value, reason), Found(row_count, self.file, first_lines, meant))
            self._add_rest(total, (column, None, reason), kinds)
        kinds = counted(self.lines.with_columns(cut("value")), *KEY)
        for column, value, reason, row_count, first_lines in kinds.head(KINDS_KEPT).iter_rows():
            add(total, (column, value, reason), Found(row_count, self.file, first_lines, []))
        reasons = kinds.slice(KINDS_KEPT).group_by("column", "reason").agg(SUMMED).sort(RANK)
        for column, reason, row_count, first_lines in reasons.head(KINDS_KEPT).iter_rows():
            add(total, (column, None, reason), Found(row_count, self.file, first_lines, []))
        self._add_rest(total, OTHERS, reasons)
        return bounded(total)

    def _add_rest(self, total: Kinds, key: Key, kinds: pl.DataFrame) -> None:
        rest = kinds.slice(KINDS_KEPT)
        if rest.height:
            lines = rest["first_lines"].explode().sort().head(FIRST_LINES).to_list()
            add(total, key, Found(int(rest["row_count"].sum()), self.file, lines, []))

    def reject_lines(self) -> bytes:
        """Each bad row once with all that is wrong with it, as lines of `rejects`."""
        text = BytesIO()
        lines = [frame["line"] for frame in (self.rows, self.lines) if frame.height]
        first, last = min(line[0] for line in lines), max(line[-1] for line in lines)
        for begin in range(first, last + 1, REJECTS_AT_ONCE):
            here = pl.col("line").is_between(begin, begin + REJECTS_AT_ONCE, closed="left")
            write_rejects(text, self.file, self._rejects(self.rows.filter(here), self.lines.filter(here)))
        return text.getvalue()

    def _rejects(self, rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
        reasons = [
            pl.when(pl.col(str(number))).then(pl.lit(f"{rule.column}: {rule.reason}"))
            for number, rule in enumerate(RULES)
        ]
        of_rows = rows.select(
            "line",
            *COLUMNS,
            NOTHING.alias("text"),
            pl.concat_str(reasons, separator="; ", ignore_nulls=True).alias("reason"),
        )
        reason = pl.concat_str("column", pl.lit(": "), "reason")
        of_lines = lines.select(
            "line",
            *(NOTHING.alias(column) for column in COLUMNS),
            "text",
            pl.coalesce(reason, "reason").alias("reason"),
        )
        return pl.concat([of_rows, of_lines]).sort("line")


def counted(faults: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Of faults in the order of their lines, those that are the same by these columns as one; by RANK."""
    lines = pl.col("line").head(FIRST_LINES).alias("first_lines")
    kinds = faults.group_by(by, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("row_count"), lines)
    return kinds.sort(RANK, maintain_order=True)


def cut(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, VALUE_CHARS_MAX)
