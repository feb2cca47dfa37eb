"""Each planted weakness is found, with the right rule and path, and its remedy does away with it; a clean jail has none."""

from __future__ import annotations

import pytest

from tests.audit.jails import Plant, audit, causes, fresh, place, with_manifest
from tests.audit.planted import PLANTS, check


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_it_is_found(plant: Plant) -> None:
    check(plant)


def test_there_are_enough_of_them() -> None:
    assert len(PLANTS) >= 60
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


# What the plants lie in: without them nothing of it is told, but for the place that is written itself.
@pytest.mark.parametrize("written", sorted({plant.written for plant in PLANTS if plant.written is not None}))
def test_the_same_jail_without(written: tuple[str, ...]) -> None:
    with place() as top:
        with_manifest(fresh(top), written)
        assert causes(audit(top, "--json").json) == {("written-executable", path) for path in written}


def test_nothing_is_found_in_a_static_jail() -> None:
    with place() as top:
        fresh(top)
        done = audit(top, "--json")
        assert causes(done.json) == set()
        assert done.json["score"] == 0
        assert done.status == 0
        told = audit(top)
        assert told.out.startswith("NOTHING FOUND in /mnt/jail")
        assert told.status == 0
