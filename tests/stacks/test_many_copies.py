"""Many copies in one account, two of dev and one of staging as `make copy` writes them, share nothing."""

import datetime
import ipaddress
import shutil
from itertools import combinations

import pytest

from stacks.copies import Wanted, make_copy
from stacks.mock_engine import ROOT, STACKS, Run, run_stack
from tests.infra.test_program import physical_names, texts_in

COPIES = {"dev-alice": "dev", "dev-bob": "dev", "staging-carol": "staging"}
# The same in every copy, since they name nothing that a copy has to itself.
CONSTANT = {"databaseName", "databasePort", "expires", "owner", "production", "services"}
# Made by RDS for each database; the mock engine has one for all.
MADE_BY_AWS = {"databaseMasterSecretArn"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("stacks")
    for stack in STACKS:
        shutil.copy(ROOT / f"Pulumi.{stack}.yaml", folder)
    for name, source in COPIES.items():
        make_copy(folder, Wanted(name, source, "rates", 14), datetime.date(2030, 1, 1))
    return [run_stack(name, folder=folder) for name in COPIES]


def test_they_share_no_physical_name(runs: list[Run]) -> None:
    for one, other in combinations(runs, 2):
        assert set(physical_names(one)) & set(physical_names(other)) == set()


def test_they_share_no_name_that_pulumi_would_make_physical(runs: list[Run]) -> None:
    for one, other in combinations(runs, 2):
        assert {each.name for each in one.resources} & {each.name for each in other.resources} == set()


def test_they_share_no_addresses(runs: list[Run]) -> None:
    blocks = [ipaddress.IPv4Network(run.one("ec2:Vpc").inputs["cidrBlock"]) for run in runs]

    assert [pair for pair in combinations(blocks, 2) if pair[0].overlaps(pair[1])] == []


def test_they_export_nothing_that_leads_to_another_one(runs: list[Run]) -> None:
    for one, other in combinations(runs, 2):
        shared = {
            key
            for key in one.exports.keys() & other.exports.keys()
            # What a copy has not, it says by `none` and the setting that would make it.
            if not str(one.exports[key]).startswith("none")
            if one.exports[key] == other.exports[key]
            or set(texts_in(one.exports[key])) & set(texts_in(other.exports[key]))
        }
        assert shared <= CONSTANT | MADE_BY_AWS


def test_none_names_anything_of_another_one(runs: list[Run]) -> None:
    for run in runs:
        texts = [text for resource in run.resources for text in texts_in(resource.inputs)]
        others = COPIES.keys() - {run.stack}
        assert [text for text in texts for other in others if other in text] == []
