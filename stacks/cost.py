"""What each stack costs a month, by what the real program declares for it and the prices of `prices.toml`.

`python -m stacks.cost [STACK…]` prints it; `--json` for machines, `--compare BEFORE AFTER` for two of those,
and `--document` is `docs/costs.md`. No AWS is needed.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pulumi
from rich.console import Console
from rich.table import Table

from stacks.billing import PARTS, Copy, uses
from stacks.mock_engine import ROOT, STACKS, EngineRefused, Run, read_yaml, run_stack, stack_config
from stacks.prices import NAME, CostUnknown, date, price_of, region_prices
from stacks.usage import ASSUMPTIONS, NOT_COUNTED, Amount, always, awake_hours
from telemetry.terminal import say_lines, visible

TOTAL = "total"
MONTHS = ("idle", "busy")
# Part, then month, then dollars; the last part is the total.
Bill = dict[str, dict[str, float]]

HEAD = """# What the stacks cost

A month of each stack as its file and the program have it today, in US dollars, at AWS's list prices of
{region} as known on {date} ([stacks/prices.toml](../stacks/prices.toml)).
`make cost` prints it, `make stacks` writes this page, and a test fails when it is out of date.
An estimate to choose sizes by, not a bill.
"""


def bill(run: Run, config: Mapping[str, str]) -> Bill:
    """Raises CostUnknown where a type has no rule, or a region, class or other thing no price."""
    region = config["aws:region"]
    prices = region_prices(region)
    parts: dict[str, Amount] = {}
    for use in uses(Copy(run, awake_hours(config))):
        if use.amount == always(0):
            continue
        price = price_of(prices, use.price, region)
        share = price_of(prices, use.factor_of, region) if use.factor_of else 1
        parts[use.part] = parts.get(use.part, always(0)) + use.amount * (price * share)
    cents = {
        part: {month: round(getattr(parts[part], month), 2) for month in MONTHS}
        for part in PARTS
        if part in parts
    }
    # Of what is shown, so that it adds up to the cent.
    total = {month: round(sum(each[month] for each in cents.values()), 2) for month in MONTHS}
    return {**cents, TOTAL: total}


def bill_of(stack: str) -> Bill:
    if not (ROOT / f"Pulumi.{stack}.yaml").is_file():
        raise CostUnknown(f"there is no stack {stack}: Pulumi.{stack}.yaml is missing")
    if "config" not in (read_yaml(f"Pulumi.{stack}.yaml", ROOT) or {}):
        raise CostUnknown(f"Pulumi.{stack}.yaml has no `config:`, so nothing says what stack {stack} is")
    return bill(run_stack(stack, folder=ROOT), stack_config(stack, folder=ROOT))


def stacks_here() -> list[str]:
    """Those of the repository, from cheap to dear, then copies."""
    found = {path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml")}
    return [*STACKS, *sorted(found - set(STACKS))]


def rows(bills: Mapping[str, Bill]) -> list[list[str]]:
    """A row a part that any of them has; the last is the total."""
    parts = [part for part in (*PARTS, TOTAL) if any(part in each for each in bills.values())]
    return [
        [part, *(cell(each, part, month) for each in bills.values() for month in MONTHS)] for part in parts
    ]


def cell(each: Bill, part: str, month: str) -> str:
    return f"{each[part][month]:,.2f}" if part in each else "-"


def header(bills: Mapping[str, Bill]) -> list[str]:
    return ["$ a month", *(f"{stack}, {month}" for stack in bills for month in MONTHS)]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def compare(before: Mapping[str, Bill], after: Mapping[str, Bill]) -> str:
    """Two answers of `--json` as a short table in Markdown: what changed, and from what to what."""
    body = []
    for stack in dict.fromkeys([*before, *after]):
        old, new = before.get(stack, {}), after.get(stack, {})
        known = [*PARTS, TOTAL]
        parts = [part for part in known if {**old, **new}.get(part) and old.get(part) != new.get(part)]
        body += [[stack, part, *(change(old, new, part, month) for month in MONTHS)] for part in parts]
    if not body:
        return "What the stacks cost does not change.\n"
    return markdown(["Stack", "$ a month", *MONTHS], body)


def change(old: Bill, new: Bill, part: str, month: str) -> str:
    was, is_now = (each.get(part, {}).get(month, 0.0) for each in (old, new))
    return f"{was:,.2f} → {is_now:,.2f} ({is_now - was:+,.2f})"


def document() -> str:
    bills = {stack: bill_of(stack) for stack in STACKS}
    region = stack_config(STACKS[0])["aws:region"]
    unsure = [key for key, price in region_prices(region).items() if not price.sources]
    sections = [
        HEAD.format(date=date(), region=region),
        markdown(header(bills), rows(bills)),
        "## What a month is like\n\n" + bullets(ASSUMPTIONS),
        "## What is not counted\n\n" + bullets(NOT_COUNTED),
        "## Prices to look up before relying on them\n\n"
        "Remembered, or worked out from another region's. "
        f"{NAME} says of the others how many sources agree.\n\n"
        + ", ".join(f"`{key}`" for key in unsure)
        + "\n",
    ]
    return "\n".join(sections)


def bullets(sentences: Sequence[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in sentences)


def print_table(bills: Mapping[str, Bill]) -> None:
    """For people on a terminal; elsewhere, Markdown."""
    if not sys.stdout.isatty():
        sys.stdout.write(markdown(header(bills), rows(bills)))
        return
    table = Table(title=f"US dollars a month, list prices of {date()}")
    for number, name in enumerate(header(bills)):
        table.add_column(visible(name), justify="right" if number else "left")
    *body, total = rows(bills)
    for row in body:
        table.add_row(*row)
    table.add_section()
    table.add_row(*total, style="bold")
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m stacks.cost", description="What each stack costs a month."
    )
    parser.add_argument("stacks", nargs="*", metavar="STACK", help="all that have a file, by default")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="one object: stack, part, idle and busy")
    what.add_argument("--document", action="store_true", help="docs/costs.md, of the repository's own stacks")
    what.add_argument(
        "--compare", nargs=2, metavar=("BEFORE", "AFTER"), help="two files of --json, as Markdown"
    )
    options = parser.parse_args(arguments)
    try:
        if options.compare:
            before, after = (json.loads(Path(name).read_text()) for name in options.compare)
            sys.stdout.write(compare(before, after))
        elif options.document:
            sys.stdout.write(document())
        else:
            bills = {stack: bill_of(stack) for stack in options.stacks or stacks_here()}
            if options.json:
                sys.stdout.write(json.dumps(bills, indent=2) + "\n")
            else:
                print_table(bills)
    except (CostUnknown, EngineRefused, pulumi.RunError, OSError, json.JSONDecodeError) as fault:
        say_lines(str(fault), err=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
