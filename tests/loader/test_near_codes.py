"""Which codes are proposed for one that no port has: held against plain edit distance."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.near_codes import PROPOSED_MAX, NearCodes, folded
from tests.examples import examples

CODES = ["CNSGH", "CNSHK", "CNNGB", "NLRTM", "DEHAM", "DEHAN", "SEGVX", "ESVLC"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cnsgh", ["CNSGH"]),
        ("CN SGH", ["CNSGH"]),
        ("cn-sgh ", ["CNSGH"]),
        ("\ufeffCNSGH", ["CNSGH"]),
        ("CNSHG", ["CNSGH"]),
        ("NCSGH", ["CNSGH"]),
        ("ESLVC", ["ESVLC"]),
        ("CNSG", ["CNSGH"]),
        ("CNSGHH", ["CNSGH"]),
        ("CNSGX", ["CNSGH"]),
        ("DEHAX", ["DEHAM", "DEHAN"]),
        ("DEHA", ["DEHAM", "DEHAN"]),
        ("CNXXX", []),
        ("FIHEL", []),
        ("", []),
        ("-", []),
        ("CNSGH" * 1000, []),
    ],
)
def test_what_is_nearly_a_code_is_told_with_it(text: str, meant: list[str]) -> None:
    assert NearCodes(CODES).of(text) == meant


def test_of_more_than_two_that_are_as_near_none_is_proposed() -> None:
    assert NearCodes(["AAAAA", "AAAAB", "AAAAC"]).of("AAAAX") == []


def test_without_ports_there_is_none() -> None:
    assert NearCodes([]).of("CNSGH") == []


words = st.text("ABC -", min_size=1, max_size=4)


@settings(max_examples=examples(500), deadline=None)
@given(codes=st.sets(words), text=words)
def test_they_are_those_at_most_one_slip_away(codes: set[str], text: str) -> None:
    apart = {code: distance(folded(code), folded(text)) for code in codes}
    least = min(apart.values(), default=2)
    nearest = sorted(code for code, slips in apart.items() if slips == least)
    expected = nearest if folded(text) and least <= 1 and len(nearest) <= PROPOSED_MAX else []
    assert sorted(NearCodes(codes).of(text)) == expected


def distance(one: str, other: str) -> float:
    """Letters to put in, take out or change, each 1; less for two neighbours that changed places."""
    if not one or not other:
        return len(one) + len(other)
    ways = [
        distance(one[1:], other) + 1,
        distance(one, other[1:]) + 1,
        distance(one[1:], other[1:]) + (one[0] != other[0]),
    ]
    if one[:2] == other[1::-1] and len(one) > 1:
        ways.append(distance(one[2:], other[2:]) + 0.9)
    return min(ways)
