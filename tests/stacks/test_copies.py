"""A copy's stack file: its own addresses, owner and last day, and nothing of what only one stack can have."""

import datetime
import ipaddress
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stacks import StacksError, copies
from stacks.copies import ADDRESSES, BLOCK_PREFIX, Copy, Wanted, free_block, make_copy, report
from stacks.mock_engine import ROOT, STACKS, read_yaml, run_stack

TODAY = datetime.date(2030, 1, 1)
OWNER = "alice@example.com"
SEALED = """config:
  aws:region: eu-west-1
  # What it is like.
  rates:databaseInstanceClass: db.t4g.micro # the smallest
  rates:databaseStorageGib: 20
  rates:databaseStorageGibMax: 50
  # Where people write to.
  rates:alarmEmail: oncall@example.com
  rates:owner:
    secure: v1:abc
secretsprovider: awskms://alias/state?region=eu-west-1
encryptedkey: abc
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the stack files of the project, and nobody's copies."""
    for stack in STACKS:
        shutil.copy(ROOT / f"Pulumi.{stack}.yaml", tmp_path)
    return tmp_path


def copied(folder: Path, name: str, source: str = "dev") -> Copy:
    return make_copy(folder, Wanted(name, source, OWNER, 14), TODAY)


def refusal(folder: Path, **changes: Any) -> str:
    """The sentence with which `dev-alice`, after some changes, is refused; and nothing is written then."""
    before = {path: path.read_text() for path in folder.iterdir()}
    with pytest.raises(StacksError) as refused:
        make_copy(folder, replace(Wanted("dev-alice", "dev", OWNER, 14), **changes), TODAY)
    assert refused.value.exit_code == 2
    assert {path: path.read_text() for path in folder.iterdir()} == before
    return str(refused.value)


def test_a_copy_has_an_owner_a_last_day_and_addresses_of_its_own_and_the_rest_as_it_was_written(
    folder: Path,
) -> None:
    copy = copied(folder, "dev-alice")

    lines = (folder / "Pulumi.dev.yaml").read_text().splitlines()
    own = [
        '  rates:owner: "alice@example.com"',
        '  rates:expires: "2030-01-15"',
        f'  rates:vpcCidr: "{copy.cidr}"',
    ]
    dropped = ("rates:vpcCidr", "rates:review")
    kept = [line for line in lines[2:] if not line.strip().startswith(dropped)]
    assert copy.path.name == "Pulumi.dev-alice.yaml"
    assert copy.path.read_text().splitlines()[1:] == ["config:", *own, *kept]
    assert any("#" in line for line in kept)


@pytest.mark.parametrize("source", STACKS)
def test_a_copy_of_any_stack_is_taken_by_the_program_and_can_be_destroyed(source: str, folder: Path) -> None:
    copied(folder, "copy-of-it", source)
    run = run_stack("copy-of-it", folder=folder)

    assert run.exports["owner"] == OWNER
    assert run.exports["expires"] == "2030-01-15"
    assert run.exports["production"] is False
    assert [each.name for each in run.resources if each.protect or each.retain_on_delete] == []
    (database,) = run.all("rds/instance:Instance")
    assert (database.inputs["deletionProtection"], database.inputs["skipFinalSnapshot"]) == (False, True)
    assert [each.name for each in run.all("s3/bucket:Bucket") if not each.inputs["forceDestroy"]] == []
    assert run.one("lb/loadBalancer:LoadBalancer").inputs["enableDeletionProtection"] is False


def test_a_copy_of_prod_has_its_shape_and_size(folder: Path) -> None:
    copy = copied(folder, "load-test", "prod")

    one, other = (read_yaml(f"Pulumi.{stack}.yaml", folder)["config"] for stack in ("prod", "load-test"))
    own = {"rates:owner", "rates:expires", "rates:vpcCidr"}
    assert {key: value for key, value in other.items() if key not in own} == {
        key: value for key, value in one.items() if key not in own | copy.left_out.keys()
    }
    assert copy.left_out.keys() == {
        "rates:production",
        "rates:databaseDeletionProtection",
        "rates:databaseFinalSnapshot",
        "rates:domain",
        "rates:domainZoneId",
        "rates:deliveryBranch",
        "rates:review",
        "rates:alarmEmail",
    }


def test_a_copy_of_a_copy_is_its_makers_and_lasts_its_own_time(folder: Path) -> None:
    first = copied(folder, "dev-alice")
    second = make_copy(folder, Wanted("dev-bob", "dev-alice", "bob@example.com", 30), TODAY)

    config = read_yaml(second.path.name, folder)["config"]
    assert (config["rates:owner"], config["rates:expires"]) == ("bob@example.com", "2030-01-31")
    assert first.cidr != second.cidr


def test_secrets_and_the_key_of_the_original_stay_with_it(folder: Path) -> None:
    (folder / "Pulumi.sealed.yaml").write_text(SEALED)
    copy = copied(folder, "dev-alice", "sealed")

    assert copy.path.read_text().splitlines()[5:] == [
        "  aws:region: eu-west-1",
        "  # What it is like.",
        "  rates:databaseInstanceClass: db.t4g.micro # the smallest",
        "  rates:databaseStorageGib: 20",
        "  rates:databaseStorageGibMax: 50",
    ]
    assert copy.left_out == {
        "rates:alarmEmail": "it belongs to a person",
        "rates:owner": "it is encrypted with the original's key",
    }
    (line,) = [line for line in report(copy, Wanted("dev-alice", "sealed", OWNER, 14)) if "init" in line]
    assert line.endswith(" stack init dev-alice --secrets-provider='awskms://alias/state?region=eu-west-1'")


def test_copies_that_see_each_other_never_share_addresses(folder: Path) -> None:
    blocks = [copied(folder, f"dev-{number}").cidr for number in range(30)]
    fixed = [ipaddress.IPv4Network(f"10.{number}.0.0/16") for number in range(128)]

    everything = [*blocks, *fixed]
    assert [
        (one, other)
        for place, one in enumerate(blocks)
        for other in everything[place + 1 :]
        if one.overlaps(other)
    ] == []


def test_a_name_decides_where_its_addresses_are_and_a_taken_block_is_passed_over() -> None:
    first = free_block("dev-alice", iter([]))

    assert free_block("dev-alice", iter([])) == first
    assert free_block("dev-bob", iter([])) != first
    # A bigger block around it is passed over as a whole.
    around = first.supernet(new_prefix=16)
    assert not free_block("dev-alice", iter([around])).overlaps(around)
    last = ipaddress.IPv4Network((int(ADDRESSES.broadcast_address) - 4095, BLOCK_PREFIX))
    others = [block for block in ADDRESSES.subnets(new_prefix=BLOCK_PREFIX) if block != last]
    assert free_block("dev-alice", iter(others)) == last
    with pytest.raises(StacksError, match=r"no /20 of 10\.128\.0\.0/9 is free"):
        free_block("dev-alice", iter([ADDRESSES]))


@pytest.mark.parametrize("name", ["", "Dev", "dev_alice", "dev-", "1dev", "../dev", "a" * 33])
def test_a_name_that_cannot_be_a_stacks_is_refused(name: str, folder: Path) -> None:
    allowed = "allowed is 1 to 32 of a-z, 0-9 and single hyphens"
    assert refusal(folder, name=name) == f"NAME is {name!r}: {allowed}"


def test_what_cannot_be_is_refused_in_a_sentence(folder: Path) -> None:
    (folder / "Pulumi.empty.yaml").write_text("encryptionsalt: v1:salt\n")

    assert refusal(folder, name="prod").startswith("NAME is 'prod', which is production")
    assert "Pulumi.staging.yaml is there already" in refusal(folder, name="staging")
    assert refusal(folder, source="tset") == (
        "FROM is 'tset': allowed is a stack that has a file: dev, empty, prod, staging"
    )
    assert refusal(folder, source="empty") == "FROM is 'empty', whose file has no `config` to copy"
    assert refusal(folder, days=91) == "DAYS is 91: allowed is 1 to 90"
    assert refusal(folder, days=0) == "DAYS is 0: allowed is 1 to 90"
    assert refusal(folder, owner="").startswith("OWNER is missing, and git has no user.email")
    assert "rates:owner is 'a\"b': allowed is 1 to 64 letters" in refusal(folder, owner='a"b')


def test_a_block_that_is_none_in_another_stack_file_is_named(folder: Path) -> None:
    (folder / "Pulumi.odd.yaml").write_text("config:\n  rates:vpcCidr: 10.3.0.1/16\n")

    assert refusal(folder).startswith("Pulumi.odd.yaml: rates:vpcCidr is '10.3.0.1/16', which is no block")


def test_the_command_says_what_is_left_out_and_what_comes_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "ROOT", folder)
    ended = CliRunner().invoke(copies.main, ["my-prod", "--from=prod", f"--owner={OWNER}"])

    assert ended.exit_code == 0
    assert "Pulumi.my-prod.yaml is written: a copy of prod for alice@example.com, at 10." in ended.stdout
    assert "only one stack can have it: domain, domainZoneId, deliveryBranch, review\n" in ended.stdout
    assert ended.stdout.endswith("next:\n  pulumi stack init my-prod\n  pulumi up --stack my-prod\n")


def test_the_owner_is_who_git_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "ROOT", folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "gitconfig"))
    assert CliRunner().invoke(copies.main, ["dev-git"]).exit_code == 2

    (folder / "gitconfig").write_text("[user]\n  email = git@example.com\n")

    assert CliRunner().invoke(copies.main, ["dev-git"]).exit_code == 0
    assert read_yaml("Pulumi.dev-git.yaml", folder)["config"]["rates:owner"] == "git@example.com"


def test_the_command_is_refused_with_a_sentence_and_no_traceback() -> None:
    command = [sys.executable, "-m", "stacks.copies", "dev"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr == (
        "make copy: NAME is 'dev', and Pulumi.dev.yaml is there already: take another name\n"
    )
