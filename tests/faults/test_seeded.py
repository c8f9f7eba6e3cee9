"""The seeded faults fit the files as they are; that each is found is seen in a nightly run."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.__main__ import seeded
from tests.faults.seeded import FAULTS, Fault
from tests.house.files import ROOT

AREAS = {"api", "infra", "loader", "local", "storage"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.file)
def test_a_fault_can_be_seeded_and_is_python_still(fault: Fault) -> None:
    compile(seeded(fault, (ROOT / fault.file).read_text()), fault.file, "exec")


def test_each_file_has_one_fault_and_every_area_has_some() -> None:
    assert len(FAULTS) >= 20
    assert Counter(fault.file for fault in FAULTS).most_common(1)[0][1] == 1
    assert {fault.file.partition("/")[0] for fault in FAULTS} == AREAS


def test_a_fault_that_no_longer_fits_is_named() -> None:
    with pytest.raises(ValueError, match=r"api/x\.py has 2 times 'a'; expected it once"):
        seeded(Fault("api/x.py", "a", "b", "nothing"), "a a")
