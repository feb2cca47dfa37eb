"""Versions are ordered as dpkg orders them."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracejail.audit.version import compare

_PIECES = ("0", "1", "9", "10", "007", "a", "B", "z", "~", "+", ".", "rc", "~~", "deb", "12u1")
_WORDS = st.lists(st.sampled_from(_PIECES), max_size=6)
_UPSTREAM = st.builds(
    lambda first, rest, dash: f"{first}{''.join(rest)}{dash}", st.integers(0, 30), _WORDS, st.sampled_from(["", "-1"])
)
_VERSION = st.builds(
    lambda epoch, upstream, revision: f"{epoch}{upstream}{revision}", st.sampled_from(["", "0:", "1:", "12:"]), _UPSTREAM,
    st.one_of(st.just(""), st.builds(lambda number, rest: f"-{number}{''.join(rest)}", st.integers(0, 12), _WORDS)),
)
_PAIRS = (
    ("1.0", "1.0", 0), ("1.0~rc1", "1.0", -1), ("1.0", "1.0-0", 0), ("1.0-1", "1.0-1+deb12u1", -1), ("1:0.1", "9.9", 1),
    ("1.10", "1.9", 1), ("1.0a", "1.0+", -1), ("1.0-1~bpo12+1", "1.0-1", -1), ("2.36-9+deb12u10", "2.36-9+deb12u9", 1),
    ("1.0~~", "1.0~", -1), ("00001", "1", 0), ("5:7.0.15-1~deb12u10", "5:7.0.15-1~deb12u8", 1), ("1-1-1", "1-2", 1),
)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


@pytest.mark.parametrize(("one", "other", "sign"), _PAIRS)
def test_known_pairs(one: str, other: str, sign: int) -> None:
    assert _sign(compare(one, other)) == sign
    assert _sign(compare(other, one)) == -sign


@settings(max_examples=int(os.environ.get("EXAMPLES", "100")), deadline=None)
@given(_VERSION, _VERSION)
def test_as_dpkg_has_it(one: str, other: str) -> None:
    sign = _sign(compare(one, other))
    word = {-1: "lt", 0: "eq", 1: "gt"}[sign]
    assert subprocess.run(["dpkg", "--compare-versions", one, word, other], check=False, capture_output=True).returncode == 0


@given(_VERSION, _VERSION, _VERSION)
def test_it_is_an_order(one: str, other: str, third: str) -> None:
    assert compare(one, one) == 0
    assert _sign(compare(one, other)) == -_sign(compare(other, one))
    if compare(one, other) <= 0 and compare(other, third) <= 0:
        assert compare(one, third) <= 0
