"""Lines for a person on a terminal, which what stands in them cannot steer: names of files, senders, keys and
values come from others, and may hold what moves its cursor, sets its title or types for whoever sits there.
"""

from __future__ import annotations

import os
import sys

# What JSON may hold as it is, and a terminal obeys.
CONTROL_IN_JSON = {number: f"\\u{number:04x}" for number in range(0x7F, 0xA0)}


def visible(text: str) -> str:
    """What is not printed, the end of a line too, is spelled as Python spells it: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def say(text: str, *, err: bool = False) -> None:
    """Prints one line."""
    write(visible(text), err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Prints what has several lines, as what another command said."""
    for line in text.split("\n"):
        say(line, err=err)


def say_json(encoded: bytes) -> None:
    """Prints an object, exactly: a control character that JSON allows is escaped as JSON has it."""
    write(encoded.decode().translate(CONTROL_IN_JSON))


def write(line: str, *, err: bool = False) -> None:
    """A reader who has left, as `head` does, changes nothing about how a command ends."""
    stream = sys.stderr if err else sys.stdout
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
