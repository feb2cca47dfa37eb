"""Which of many things it is, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def fewest(candidates: Sequence[str], enough: Callable[[frozenset[str]], bool]) -> frozenset[str]:
    """The least of the candidates that are enough, where all are and none is not: none can be left out of what is given.

    Asks about twice the binary logarithm of their number for each that is needed (QuickXplain, Junker 2004).
    """

    def search(given: frozenset[str], among: Sequence[str]) -> frozenset[str]:
        # `given` alone is not enough, with all of `among` it is.
        if len(among) == 1:
            return frozenset(among)
        first, second = among[: len(among) // 2], among[len(among) // 2 :]
        for half in (first, second):
            if enough(given | frozenset(half)):
                return search(given, half)
        of_first = search(given | frozenset(second), first)
        return of_first | search(given | of_first, second) if not enough(given | of_first) else of_first

    return search(frozenset(), candidates) if candidates else frozenset()
