"""Which code was probably meant by one that no port has: asked once a distinct value, never once a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

PORT_REASON = "no such port"
# Of more that are equally near, none is more likely than another.
PROPOSED_MAX = 2
HYPHENS = "-\u2010\u2011\u2012\u2013\u2014"


class NearCodes:
    """Codes that can be found by what is nearly one of them."""

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes: dict[str, list[str]] = defaultdict(list)
        for code in sorted(codes):
            self._codes[folded(code)].append(code)
        self._letters = sorted(set("".join(self._codes)))
        self._chars_max = max(map(len, self._codes), default=0)

    def of(self, text: str) -> list[str]:
        """The nearest codes, one or two; [] where none or more are.

        Nearest are those that are the same but for case, blanks and hyphens; then those with two neighbouring
        letters exchanged; then those with one letter too many, too few, or another one.
        """
        spelled = folded(text)
        if not 0 < len(spelled) <= self._chars_max + 1:
            return []
        near = self._named(spelled) or self._named(*exchanges(spelled))
        near = near or self._named(*slips(spelled, self._letters))
        return near if len(near) <= PROPOSED_MAX else []

    def _named(self, *spelled: str) -> list[str]:
        return [code for text in sorted(set(spelled)) for code in self._codes.get(text, ())]


def exchanges(text: str) -> Iterator[str]:
    for at in range(len(text) - 1):
        yield text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def slips(text: str, letters: Iterable[str]) -> Iterator[str]:
    for at in range(len(text) + 1):
        head, tail = text[:at], text[at:]
        yield head + tail[1:]
        for letter in letters:
            yield head + letter + tail
            yield head + letter + tail[1:]


def folded(text: str) -> str:
    return "".join(letter for letter in text.upper() if not letter.isspace() and letter not in HYPHENS)
