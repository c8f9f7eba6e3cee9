"""What is to be destroyed and what never is; and what is said where Pulumi cannot be asked.

The life and end of copies on the real engine: tests/engine/test_reap.py.
"""

import datetime
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stacks import StacksError
from stacks.mock_engine import ROOT
from stacks.reap import Pulumi, judge, look_at, main, reap

TODAY = datetime.date(2030, 1, 20)
FAKE = """#!{python}
import sys
command = " ".join(sys.argv[2:])
answers = {answers!r}
if command not in answers:
    sys.exit(f"error: {{command}} went wrong")
print(answers[command])
"""
EMPTY = '{"deployment": {}}'


def exported(outputs: Mapping[str, Any]) -> str:
    """A stack with these outputs that holds a database."""
    resources = [
        {"custom": False, "type": "pulumi:pulumi:Stack", "urn": "x::stack", "outputs": outputs},
        {"custom": True, "type": "aws:rds/instance:Instance", "urn": "x::db"},
    ]
    return json.dumps({"deployment": {"resources": resources}})


def verdict(protected: tuple[str, ...] = (), **outputs: Any) -> tuple[str, bool]:
    given = {"owner": "anna", "production": False, "expires": "2030-01-15"} | outputs
    return judge({key: value for key, value in given.items() if value is not None}, [*protected], TODAY)


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        ("2030-01-19", "past its last day, 2030-01-19, by 1 day"),
        ("2029-12-21", "past its last day, 2029-12-21, by 30 days"),
    ],
)
def test_a_copy_past_its_last_day_is_to_be_destroyed(expires: str, said: str) -> None:
    assert verdict(expires=expires) == (said, True)


@pytest.mark.parametrize(
    ("expires", "said"),
    [("2030-01-20", "0 days left, until 2030-01-20"), ("2030-01-21", "1 day left, until 2030-01-21")],
)
def test_a_copy_may_live_through_its_last_day(expires: str, said: str) -> None:
    assert verdict(expires=expires) == (said, False)


@pytest.mark.parametrize("production", [True, "false", "no", 0])
def test_only_what_says_that_it_is_no_production_is_ever_to_be_destroyed(production: object) -> None:
    assert verdict(production=production)[1] is False


def test_what_stays_or_says_nothing_or_something_odd_is_never_to_be_destroyed() -> None:
    assert verdict(expires="never") == ("stays", False)
    assert verdict(expires="never", production=True) == ("production, never destroyed here", False)
    assert verdict(expires="soon") == ("has the last day 'soon', which is none", False)
    assert verdict(expires=20300115) == ("has the last day 20300115, which is none", False)
    assert verdict(expires=None)[0].startswith("says nothing of its last day")
    assert verdict(production=None)[0].startswith("says nothing of its last day")


def test_what_is_protected_is_named_and_never_to_be_destroyed() -> None:
    said, to_be_destroyed = verdict(("s3.Bucket prices", "kms.Key prices"))

    assert said.endswith("but protected, so never destroyed here: s3.Bucket prices, kms.Key prices")
    assert not to_be_destroyed


def test_without_the_command_it_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StacksError, match="needs the pulumi command: https://") as refused:
        reap(tmp_path, TODAY, destroy=False)
    assert refused.value.exit_code == 2


def test_the_command_ends_with_a_sentence_and_a_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = CliRunner().invoke(main, [])

    assert ended.exit_code == 2
    assert ended.stderr.startswith("make reap: this needs the pulumi command")


@pytest.mark.parametrize(("told", "destroys"), [("", False), ("0", False), ("no", False), ("1", True)])
def test_make_destroys_for_a_1_and_for_nothing_else(told: str, destroys: bool) -> None:
    command = ["make", "--dry-run", "reap", f"DESTROY={told}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "-m stacks.reap" in said
    assert ("--destroy" in said) == destroys


def test_without_a_backend_it_says_what_pulumi_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_pulumi(monkeypatch, tmp_path, {})
    with pytest.raises(StacksError, match="is it logged in\\?\nerror: stack ls --json went wrong") as refused:
        reap(tmp_path, TODAY, destroy=False)
    assert refused.value.exit_code == 3


def test_a_project_without_stacks_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_pulumi(monkeypatch, tmp_path, {"stack ls --json": "[]"})

    assert reap(tmp_path, TODAY, destroy=True) == 0
    assert capsys.readouterr().out == "there are no stacks\n"


def test_a_stack_that_cannot_be_read_is_named_and_the_others_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        "stack ls --json": '[{"name": "sealed"}, {"name": "theirs"}, {"name": "bare"}]',
        "stack export --stack bare": EMPTY,
        "stack export --stack theirs": exported({}),
    }
    fake_pulumi(monkeypatch, tmp_path, answers)

    assert reap(tmp_path, TODAY, destroy=False) == 1

    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "bare (owner unknown): holds nothing",
        "sealed: cannot be read: error: stack export --stack sealed went wrong",
        "theirs (owner unknown): says nothing of its last day: not of this program, or not up to date",
        "none is to be destroyed",
    ]
    assert said.err == "make reap: failed with sealed: what Pulumi said is above\n"


def test_what_others_named_does_not_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        "stack ls --json": '[{"name": "a"}, {"name": "b\\u001b[2J"}]',
        "stack export --stack a": exported(
            {"owner": "\x1b]0;mine\x07", "production": False, "expires": "\x9b1m"}
        ),
    }
    fake_pulumi(monkeypatch, tmp_path, answers)

    assert reap(tmp_path, TODAY, destroy=False) == 1

    said = capsys.readouterr()
    assert said.out.splitlines()[0] == r"a (\x1b]0;mine\x07): has the last day '\x9b1m', which is none"
    assert (said.out + said.err).replace("\n", "").isprintable()


def test_a_stack_that_got_more_time_since_it_was_listed_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {"expires": "2030-01-15", "owner": "anna", "production": False}
    answers = {
        "stack ls --json": '[{"name": "dev-anna"}]',
        "stack export --stack dev-anna": exported(outputs),
    }
    fake_pulumi(monkeypatch, tmp_path, answers)
    looks = []

    def look_and_extend(pulumi: Pulumi, name: str, today: datetime.date) -> Any:
        looks.append(name)
        return look_at(pulumi, name, today - datetime.timedelta(days=30 * (len(looks) - 1)))

    monkeypatch.setattr("stacks.reap.look_at", look_and_extend)

    assert reap(tmp_path, TODAY, destroy=True) == 0
    assert capsys.readouterr().out.endswith("dev-anna: is left alone, it was changed in between\n")


def fake_pulumi(monkeypatch: pytest.MonkeyPatch, folder: Path, answers: dict[str, str]) -> None:
    """A `pulumi` that knows some commands, and fails with a sentence on all others."""
    path = folder / "pulumi"
    path.write_text(FAKE.format(python=sys.executable, answers=answers))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
