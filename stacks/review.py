"""What a pull request would change, as one comment for those who review it: `.github/workflows/preview.yml`.

`python -m stacks.review FOLDER COMMIT` reads what the workflow has left there and prints the comment. Of each
stack: `<stack>.txt`, what `make preview` said; `<stack>.diff.txt`, the same with `DIFF=1`; `<stack>.status`,
its exit code, or nothing where there is no role to preview it in. For the costs: `before.json`, `after.json`.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from stacks.cost import compare

# By this line the workflow finds the comment again.
MARK = "<!-- preview of the stacks -->"
# GitHub takes 65,536 characters; what is around the differences has the rest.
DIFFERENCES_CHARACTERS_MAX = 50_000
# Headings of what Pulumi prints, each at the start of a line, with what is below them indented.
SECTION = re.compile(r"^(?P<title>[A-Z][a-z]+):\n(?P<body>(?:[ \t]+\S.*\n?|\n)+)", re.MULTILINE)
COUNT = re.compile(r"^\s*\S+ (?P<count>\d+ to [a-z]+|\d+ unchanged)", re.MULTILINE)
TROUBLES = ("Policies", "Diagnostics")
VIOLATION = re.compile(r"\[(?P<level>mandatory|advisory)\]")


@dataclass(frozen=True)
class Preview:
    """What is known of one stack."""

    stack: str
    said: str
    difference: str
    status: str  # exit code, or empty

    @property
    def ran(self) -> bool:
        return self.status != ""

    @property
    def changes(self) -> str:
        if not self.ran:
            return f"not previewed: the variable PREVIEW_ROLE_{self.stack.upper()} names no role"
        counts = [match["count"] for match in COUNT.finditer(self.section("Resources"))]
        planned = ", ".join(count for count in counts if not count.endswith("unchanged"))
        return planned or ("nothing changes" if self.status == "0" else "**the preview failed**")

    @property
    def policies(self) -> str:
        levels = [match["level"] for match in VIOLATION.finditer(self.section("Policies"))]
        broken = [f"{levels.count(level)} {level}" for level in ("mandatory", "advisory") if level in levels]
        if broken:
            return f"**broken: {', '.join(broken)}**"
        return "all kept" if self.section("Policies") else "none run"

    def section(self, title: str) -> str:
        """What Pulumi printed below a heading, or nothing."""
        return "".join(match["body"] for match in SECTION.finditer(self.said) if match["title"] == title)


def read_previews(folder: Path) -> list[Preview]:
    """Sorted by stack. Raises FileNotFoundError where a stack has a status and no text."""
    previews = []
    for path in sorted(folder.glob("*.status")):
        status, stack = path.read_text().strip(), path.stem
        said = (folder / f"{stack}.txt").read_text() if status else ""
        difference = (folder / f"{stack}.diff.txt").read_text() if status else ""
        previews.append(Preview(stack, said, difference, status))
    return previews


def comment(previews: list[Preview], costs: str, commit: str) -> str:
    rows = [f"| {each.stack} | {each.changes} | {each.policies} |" for each in previews]
    troubles = [trouble(each, title) for each in previews for title in TROUBLES if told(each, title)]
    parts = [
        MARK,
        f"### What {commit} would change on AWS",
        "\n".join(["| stack | resources | policies |", "| --- | --- | --- |", *rows]),
        *troubles,
        f"### Cost a month\n\n{costs}",
    ]
    ran = [each for each in previews if each.ran]
    share = DIFFERENCES_CHARACTERS_MAX // max(len(ran), 1)
    parts += [fold(f"{each.stack}: the whole difference", cut(each.difference, share)) for each in ran]
    return "\n\n".join(parts) + "\n"


def told(preview: Preview, title: str) -> bool:
    """Whether the section has what somebody has to act on."""
    section = preview.section(title)
    return bool(VIOLATION.search(section)) if title == "Policies" else "error:" in section


def trouble(preview: Preview, title: str) -> str:
    return f"**{preview.stack}: {title.lower()}**\n\n{fenced(preview.section(title).strip(chr(10)))}"


def fold(summary: str, text: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{fenced(text)}\n\n</details>"


def fenced(text: str) -> str:
    """As a block that nothing in the text ends early."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def cut(text: str, characters_max: int) -> str:
    """Whole lines from the start, and how many are left out."""
    kept, length = [], 0
    lines = text.strip("\n").split("\n")
    for line in lines:
        length += len(line) + 1
        if length > characters_max:
            return "\n".join([*kept, f"… {len(lines) - len(kept)} more lines, in the log of the run"])
        kept.append(line)
    return "\n".join(kept)


def main(folder: Path, commit: str) -> None:
    before, after = (json.loads((folder / f"{name}.json").read_text()) for name in ("before", "after"))
    sys.stdout.write(comment(read_previews(folder), compare(before, after), commit))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
