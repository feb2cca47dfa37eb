"""All cases and what came of them, as a table: `python -m tests.doctor.table` runs them and writes RESULTS.txt."""

from __future__ import annotations

import re
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.doctor import (
    test_accounts,
    test_astray,
    test_compared,
    test_execution,
    test_inner,
    test_late,
    test_libraries,
    test_names,
    test_plugins,
    test_silent,
    test_surroundings,
)
from tests.doctor.jails import Case, Result, check, empty_jail

RESULTS = Path(__file__).with_name("RESULTS.txt")
CASES: tuple[Case, ...] = (
    *test_execution.CASES, *test_libraries.CASES, *test_plugins.CASES, *test_surroundings.CASES, *test_names.CASES,
    *test_silent.CASES, *test_late.CASES, *test_accounts.CASES, *test_inner.CASES,
    *test_astray.CASES, *test_compared.CASES,
)
# The ids of cases.md by their letters: how far they go, and the numbers that are left out there.
FAMILIES: dict[str, tuple[int, frozenset[int]]] = {
    "E": (20, frozenset((3, 6, 17))),
    "D": (16, frozenset((4, 10, 12))),
    "N": (14, frozenset((4, 12))),
    "T": (11, frozenset((7, 8, 9))),
    "C": (6, frozenset((2, 4))),
    "L": (5, frozenset((1,))),
    "G": (4, frozenset()),
    "P": (19, frozenset((9, 11))),
    "R": (13, frozenset((8, 10, 11))),
}
# Those that no jail on this machine shows, and why.
NOT_MADE: dict[str, str] = {
    "P18": "two jails that are whole each: what one cache of byte code mixes up is not in either of them",
    "R13": "what PID 1 does before a unit's program is started: it takes systemd as PID 1",
}
_WORKERS = 2
_WIDTHS = (42, 46, 18, 58, 5, 0)
_HEAD = ("id", "program", "rule", "path", "place", "cured")


def identifiers() -> list[str]:
    """Of cases.md."""
    return [f"{letter}{n}" for letter, (most, gaps) in FAMILIES.items() for n in range(1, most + 1) if n not in gaps]


def made() -> set[str]:
    """Those that have a fixture."""
    return {match[0] for case in CASES if (match := re.match(r"[A-Z]\d+(?=,|$)", case.name))}


def line(words: tuple[str, ...]) -> str:
    """One of the table; two spaces or more are between its columns."""
    return "  ".join(f"{word:<{width}}" for word, width in zip(words, _WIDTHS, strict=True)).rstrip()


def rows(text: str) -> list[Result]:
    """The lines of a table, read back."""
    found = []
    for each in text.partition("\n\n")[0].splitlines()[1:]:
        name, program, rule, path, position, cured = re.split(r" {2,}", each)
        found.append(Result(name, program, rule, path, int(position), cured))
    return found


def _words(result: Result) -> tuple[str, ...]:
    return (result.name, result.program, result.rule, result.path, str(result.position), result.cured)


def _run(case: Case) -> Result | str:
    try:
        with empty_jail() as jail:
            return check(jail, case)
    except Exception:
        return traceback.format_exc(limit=1)


def main() -> int:
    """Run all, print the table, and keep it where all went well."""
    with ThreadPoolExecutor(_WORKERS) as workers:
        results = list(workers.map(_run, CASES))
    good = [result for result in results if isinstance(result, Result)]
    first = sum(result.position == 1 for result in good)
    alone = sum(result.cured == "yes" for result in good)
    lines = [line(words) for words in (_HEAD, *map(_words, good))] + [""]
    early = sum(result.position <= 3 for result in good)
    lines.append(
        f"{len(CASES)} fixtures for {len(made())} of the {len(identifiers())} cases: the right cause is first in {first}, within "
        f"the first three in {early}; the remedy cured all, {alone} of them as commands that can be pasted"
    )
    lines += [f"not made: {name}: {why}" for name, why in NOT_MADE.items()]
    print("\n".join(lines))
    for case, result in zip(CASES, results, strict=True):
        if not isinstance(result, Result):
            print(f"\n{case.name}: {result}", file=sys.stderr)
    if len(good) != len(CASES):
        return 1
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
