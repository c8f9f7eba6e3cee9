"""Plain values out of Pulumi's configuration, with all that is wrong with them; `settings` reads through it.

`pulumi.Config` answers one key at a time and stops at the first bad one. Only the whole map shows all bad
keys at once, and the misspelt ones.
"""

import difflib
import ipaddress
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import TypeVar

Choice = TypeVar("Choice", bound=StrEnum)

TRUTH = {"true": True, "false": False}
PRIVATE_BLOCKS = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


class Reader:
    """Reads the keys of one namespace. After a fault each method still returns something of its type."""

    def __init__(self, namespace: str, config: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.faults: dict[str, str] = {}
        prefix = f"{namespace}:"
        self._values = {
            key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)
        }
        self._asked: set[str] = set()

    def text(self, key: str, pattern: re.Pattern[str], allowed: str) -> str:
        value = self._value(key)
        if not pattern.fullmatch(value):
            self._refuse(key, f"allowed is {allowed}")
        return value

    def text_if_set(self, key: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """None for an empty text, which is the default of a text that has none."""
        self._asked.add(key)
        return None if self._values.get(key) == "" else self.text(key, pattern, allowed)

    def texts(self, key: str, pattern: re.Pattern[str], allowed: str) -> tuple[str, ...]:
        """Those between blanks, none for an empty text."""
        values = tuple(self._value(key).split())
        if key not in self._values or not all(pattern.fullmatch(each) for each in values):
            self._refuse(key, f"allowed is {allowed}, with blanks between")
        return values

    def flag(self, key: str) -> bool:
        value = self._value(key)
        if value not in TRUTH:
            self._refuse(key, "allowed is true or false")
        return TRUTH.get(value, False)

    def choice(self, key: str, choices: type[Choice]) -> Choice:
        value = self._value(key)
        if value not in list(choices):
            self._refuse(key, f"allowed is {any_of(choices)}")
            return next(iter(choices))
        return choices(value)

    def whole(self, key: str, allowed: Collection[int], reason: str = "") -> int:
        value = self._value(key)
        if not re.fullmatch(r"\d{1,9}", value) or int(value) not in allowed:
            self._refuse(key, f"allowed is {any_of(allowed)}{reason}")
            return 0
        return int(value)

    def whole_if_set(self, key: str, allowed: Collection[int]) -> int | None:
        """None for 0, which is the default of a number that has none."""
        self._asked.add(key)
        return None if self._values.get(key) == "0" else self.whole(key, allowed)

    def private_cidr(self, key: str, prefixes: range) -> ipaddress.IPv4Network:
        value = self._value(key)
        try:
            cidr = ipaddress.IPv4Network(value)
        except ValueError:
            cidr = ipaddress.IPv4Network("0.0.0.0/0")
        if cidr.prefixlen not in prefixes or not any(cidr.subnet_of(block) for block in PRIVATE_BLOCKS):
            self._refuse(key, f"allowed is a private block of /{prefixes[0]} to /{prefixes[-1]}")
        return cidr

    def demand(self, key: str, met: bool, reason: str) -> None:
        """A condition that goes beyond the key itself. A key that is bad by itself is not reported twice."""
        if not met:
            self._refuse(key, reason)

    def unknown(self) -> list[str]:
        """A line for each key that is there and was never asked for."""
        lines = []
        for key in sorted(self._values.keys() - self._asked):
            near = difflib.get_close_matches(key, self._asked, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            lines.append(f"{self.namespace}:{key} is not a setting{hint}")
        return lines

    def _value(self, key: str) -> str:
        self._asked.add(key)
        return self._values.get(key, "")

    def _refuse(self, key: str, reason: str) -> None:
        found = f"is {self._values[key]!r}" if key in self._values else "is missing"
        self.faults.setdefault(key, f"{self.namespace}:{key} {found}: {reason}")


def any_of(allowed: Collection[object]) -> str:
    """`1 to 3` for a range; `1, 2 or 5` for others."""
    if isinstance(allowed, range):
        return f"{allowed[0]} to {allowed[-1]}"
    *most, last = [str(value) for value in allowed]
    return f"{', '.join(most)} or {last}" if most else last
