"""A jail that was learned is better than one that was not: by its score."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.audit.scores import SERVERS, copied, debootstrapped, learned, of_tree, private_host, scratch


def test_learned_jails_are_better() -> None:
    with scratch() as top, ThreadPoolExecutor(1) as beside:
        tree = beside.submit(debootstrapped, top, True)
        best = []
        for row in SERVERS:
            if row.name not in ("nginx", "redis"):
                continue
            with private_host() as host:
                own, other = learned(host, row, str(top)), copied(host, row, "basicshell")
                best.append(own)
                assert own.score < other.score, (own, other)
        with private_host() as host:
            whole = of_tree(host, tree.result())
        for own in best:
            assert 5 * own.score < whole.score, (own, whole)
