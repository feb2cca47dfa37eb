"""The table of results is about the cases of now, and the cases are those of cases.md."""

from __future__ import annotations

from tests.doctor.table import CASES, NOT_MADE, RESULTS, identifiers, made, rows


def test_each_case_is_made_or_said_not_to_be() -> None:
    assert len(identifiers()) == 89
    assert made() | NOT_MADE.keys() == set(identifiers())
    assert not made() & NOT_MADE.keys()
    assert len(NOT_MADE) <= 9


def test_each_case_has_a_symptom() -> None:
    assert [case.name for case in CASES if not (case.symptom or case.told or case.seen)] == []


def test_names_are_unlike() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_table_names_every_case() -> None:
    assert [row.name for row in rows(RESULTS.read_text())] == [case.name for case in CASES]
    assert all(row.path == case.path for row, case in zip(rows(RESULTS.read_text()), CASES, strict=True))


def test_the_right_cause_is_first_in_nearly_all() -> None:
    places = [row.position for row in rows(RESULTS.read_text())]
    assert max(places) <= 3
    assert places.count(1) >= 0.95 * len(places)
