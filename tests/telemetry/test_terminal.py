"""What reaches a terminal: text as it is, and nothing that steers it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.terminal import say, say_json, say_lines, visible

ANY = st.text(st.characters(exclude_categories=()))
# Controls, what is not drawn (it turns the line round, say), halves of pairs, ends of lines.
STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;mine\x07", r"\x1b]0;mine\x07"),
        ("a\r\nb\tc\x00", r"a\r\nb\tc\x00"),
        ("\x7f\x9b31m\x85", r"\x7f\x9b31m\x85"),
        ("\u202egnp.exe\u2028\ufeff", r"\u202egnp.exe\u2028\ufeff"),
        ("\udcff", r"\udcff"),
        ("Ørsta 上海 … '\\\"", "Ørsta 上海 … '\\\""),
    ],
)
def test_what_steers_is_spelled_and_all_else_stays(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY)
def test_nothing_that_steers_is_left_of_any_text(text: str) -> None:
    shown = visible(text)
    assert not STEERING & {unicodedata.category(each) for each in shown}
    assert shown.encode().decode() == shown
    assert (shown == text) == text.isprintable()


def test_what_is_said_is_a_line_and_what_has_lines_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb")
    say_lines("a\nb\x1b", err=True)
    assert capsys.readouterr() == ("a\\nb\n", "a\nb\\x1b\n")


@given(ANY.filter(lambda text: text.isprintable() or text.isascii() or "\x80" <= max(text) <= "\x9f"))
def test_json_is_exact(text: str) -> None:
    encoded = json.dumps({"key": text}, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("telemetry.terminal.write", said.append)
        say_json(encoded)
    (line,) = said
    assert json.loads(line) == {"key": text}
    assert "Cc" not in {unicodedata.category(each) for each in line}
