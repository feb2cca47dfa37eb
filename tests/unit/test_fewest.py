"""The search for the fewest that are enough."""

from __future__ import annotations

import itertools

import pytest

from tracejail.fewest import fewest

ALL = [f"name{number}" for number in range(80)]


@pytest.mark.parametrize("needed", [{"name0"}, {"name79"}, {"name39", "name40"}, {"name3", "name50", "name79"}, set(ALL[:9])])
def test_it_finds_what_is_needed(needed: set[str]) -> None:
    asked = []

    def enough(names: frozenset[str]) -> bool:
        asked.append(names)
        return needed <= names

    assert fewest(ALL, enough) == needed
    assert len(asked) <= 16 * len(needed)


def test_any_of_two_will_do() -> None:
    assert len(fewest(ALL, lambda names: bool({"name7", "name70"} & names))) == 1


def test_all_small_cases() -> None:
    for size in range(1, 6):
        names = ALL[:size]
        for count in range(1, size + 1):
            for needed in itertools.combinations(names, count):
                assert fewest(names, lambda given, needed=needed: set(needed) <= given) == set(needed)  # type: ignore[misc]


def test_of_none_none() -> None:
    assert fewest((), lambda names: True) == frozenset()
