"""Addresses: what names a file, and what is said of each other spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.errors import UsageError
from loader.inputs import find_input
from tests.loader.cases.addresses import ADDRESS_CASES
from tests.loader.cases.case import TAKEN, AddressCase


@pytest.mark.parametrize("case", ADDRESS_CASES, ids=lambda case: case.given)
def test_an_address_is_taken_or_refused_with_what_was_meant(
    case: AddressCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in case.files:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    if case.outcome == TAKEN:
        assert find_input(case.address).size == 1
        return
    with pytest.raises(UsageError) as refused:
        find_input(case.address)
    shown = case.address.partition("?")[0]
    assert str(refused.value).startswith(f"{shown}: {case.outcome}")
    assert "X-Amz-Signature" not in str(refused.value), "it would open the object to those who read the log"
