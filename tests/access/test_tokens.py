"""Tokens: known by their hashes, read again without a restart, and never told to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from access import secret_setting
from access.errors import SettingMisconfigured, SettingUnavailable
from access.signatures import bearers_secret
from access.tokens import ADMIN, READ, SCOPES, WRITE, Tokens, entry_of, main
from tests.waiting import TIMEOUT_S

ALICE, BOB = "alices-own-token", "bobs-own-token"
ENTRIES = f"{entry_of('alice', [READ, WRITE], ALICE)}\n  {entry_of('bob', [READ], BOB)} "


def test_a_token_is_found_by_what_its_bearer_sends_and_has_its_scopes() -> None:
    tokens = Tokens(ENTRIES)
    alice, bob = tokens.find(ALICE), tokens.find(BOB)
    assert alice is not None
    assert (alice.name, alice.scopes) == ("alice", {READ, WRITE})
    assert bob is not None
    assert (bob.name, bob.scopes) == ("bob", {READ})


@pytest.mark.parametrize(
    ("scopes", "may"),
    [([READ], {READ}), ([WRITE], {READ, WRITE}), ([READ, WRITE], {READ, WRITE}), ([ADMIN], set(SCOPES))],
)
def test_a_scope_includes_those_before_it(scopes: list[str], may: set[str]) -> None:
    (token,) = Tokens(entry_of("alice", scopes, ALICE)).known()
    assert {scope for scope in SCOPES if token.may(scope)} == may


@pytest.mark.parametrize("sent", ["", "alice", ALICE[:-1], ALICE + " ", ALICE.upper(), "\ud800", "\0"])
def test_what_is_not_quite_a_token_is_none(sent: str) -> None:
    assert Tokens(ENTRIES).find(sent) is None


def test_without_a_setting_there_is_no_token() -> None:
    assert Tokens("").known() == []
    assert Tokens("").find("") is None


def test_every_entry_that_is_wrong_is_named_by_its_place_and_none_by_its_content() -> None:
    digest = "0" * 64
    wrong = f"{ALICE} a:read:{digest} a:read:{'1' * 64} b::{digest} c:owner:{digest} d:read:{digest} e:read:F"
    with pytest.raises(SettingMisconfigured) as refused:
        Tokens(wrong)
    kind = "is not name:scopes:sha256, scopes being of read, write, admin"
    assert str(refused.value) == (
        f"RATES_API_TOKENS: entry 1 {kind}; entry 3 has the name of an earlier one, 'a'; entry 4 {kind};"
        f" entry 5 {kind}; entry 6, 'd', has the token of an earlier one; entry 7 {kind}"
    )


def test_neither_tokens_nor_hashes_are_shown_by_what_knows_them() -> None:
    tokens = Tokens(ENTRIES)
    shown = f"{tokens!r} {tokens.known()!r}"
    assert "alice'" in shown
    for secret in (ALICE, entry_of("x", [READ], ALICE)[-64:], repr(tokens.known()[0].digest)):
        assert secret not in shown


# --- held elsewhere ----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(ENTRIES)
    return path


def test_a_file_is_read_again_so_that_a_token_comes_and_goes_without_a_restart(file: Path) -> None:
    tokens = Tokens(str(file), read_again_s=0)
    assert tokens.find(ALICE) is not None
    file.write_text(entry_of("carol", [WRITE], "carols"))
    assert tokens.find(ALICE) is None
    assert tokens.find("carols") is not None
    file.write_text("")
    assert tokens.find("carols") is None


def test_it_is_not_read_again_before_its_time(file: Path) -> None:
    tokens = Tokens(str(file))
    assert tokens.find(ALICE) is not None
    file.write_text("")
    assert tokens.find(ALICE) is not None


@pytest.mark.parametrize("content", [None, "no entry", "alice:read:1234"])
def test_while_it_cannot_be_read_again_those_that_were_read_last_stay_good(
    file: Path, content: str | None
) -> None:
    tokens = Tokens(str(file), read_again_s=0)
    assert tokens.find(ALICE) is not None
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert tokens.find(ALICE) is not None


def test_where_none_was_ever_read_it_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    tokens = Tokens(str(file), try_again_s=0)
    with pytest.raises(SettingUnavailable, match=r"tokens cannot be read: .*No such file"):
        tokens.find(ALICE)
    file.write_text(ENTRIES)
    assert tokens.find(ALICE) is not None


def test_a_file_that_is_empty_has_been_read(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("")
    tokens = Tokens(str(file), read_again_s=0)
    assert tokens.find(ALICE) is None
    file.unlink()
    assert tokens.find(ALICE) is None


def test_only_one_thread_waits_while_it_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(str(file), read_again_s=0)
    assert tokens.known()
    reading, go_on = threading.Event(), threading.Event()

    def slow(_setting: str) -> str:
        reading.set()
        assert go_on.wait(TIMEOUT_S)
        return ""

    monkeypatch.setattr(secret_setting, "read_elsewhere", slow)
    slow_one = threading.Thread(target=tokens.known)
    slow_one.start()
    assert reading.wait(TIMEOUT_S)
    assert tokens.find(ALICE) is not None
    assert slow_one.is_alive(), "and it is still reading"
    go_on.set()
    slow_one.join()
    assert tokens.find(ALICE) is None


# --- a new one ---------------------------------------------------------------------------------------------


def run(module: str, *arguments: str, callback_secret: str | None = None) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout, stderr."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RATES_")}
    env |= {} if callback_secret is None else {"RATES_CALLBACK_SECRET": callback_secret}
    command = [sys.executable, "-m", f"access.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    return done.returncode, done.stdout.splitlines(), done.stderr


def value(line: str) -> str:
    return line.split(": ", 1)[1]


def test_a_new_token_is_shown_once_with_its_secret_for_callbacks_and_the_entry_that_knows_it() -> None:
    signing = "s" * 43
    status, shown, said = run("tokens", "alice", callback_secret=f"{signing} {'o' * 43}")
    assert (status, said) == (0, "")
    token, secret, entry = (value(line) for line in shown)
    assert len(token) == 43
    assert secret == bearers_secret(signing, "alice"), "by the newest"
    found = Tokens(entry).find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("alice", {READ, WRITE})


def test_without_a_secret_to_sign_with_a_new_token_is_shown_all_the_same() -> None:
    status, shown, said = run("tokens", "alice")
    assert (status, [line.split(":")[0] for line in shown]) == (
        0,
        ["for its bearer, and shown only now", "for RATES_API_TOKENS"],
    )
    assert said == "what its bearer checks callbacks by is shown where RATES_CALLBACK_SECRET is set\n"


def test_no_token_is_made_where_the_secret_to_sign_with_is_wrong() -> None:
    status, shown, said = run("tokens", "alice", callback_secret="short")
    assert (status, shown) == (1, [])
    assert said.startswith("RATES_CALLBACK_SECRET: secret 1 is not 32 to 200 of")


def test_a_new_secret_to_sign_with_shows_each_bearer_theirs_and_is_no_other_one() -> None:
    (first,), (second,) = (run("signatures")[1] for _ in range(2))
    assert first.startswith("for RATES_CALLBACK_SECRET: ")
    assert first != second
    status, shown, _ = run("signatures", "alice", callback_secret=value(first))
    assert (status, [value(line) for line in shown]) == (0, [bearers_secret(value(first), "alice")])


def test_without_a_secret_to_sign_with_no_bearer_is_shown_one() -> None:
    says = "RATES_CALLBACK_SECRET holds no secret; `python -m access.signatures` makes one\n"
    assert run("signatures", "alice") == (1, [], says)
    assert run("signatures", "alice", "bob")[0] == 1


def test_a_new_token_has_the_scopes_that_are_asked_for_and_is_no_other_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RATES_CALLBACK_SECRET", raising=False)
    main(["alice", "read"])
    main(["alice", "read"])
    first, second = capsys.readouterr().out.splitlines()[1::2]
    assert first.startswith("for RATES_API_TOKENS: alice:read:")
    assert second.startswith("for RATES_API_TOKENS: alice:read:")
    assert first != second


@pytest.mark.parametrize("arguments", [[], ["a b"], ["a", "owner"], ["a", ""], ["a", "read", "x"]])
def test_a_new_token_of_no_name_or_of_scopes_that_are_none_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^usage: python -m access.tokens NAME \[SCOPES\]"):
        main(arguments)
    assert capsys.readouterr().out == ""
