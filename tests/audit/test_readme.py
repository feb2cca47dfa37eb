"""The README shows what audit says, and the scores that were measured."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

from tests.audit.jails import device, in_namespace, place, write
from tests.audit.scores import RESULTS
from tests.tool import COMMAND

_README = Path(__file__).parents[2] / "README.md"


def test_the_example() -> None:
    with place() as top:
        jail = top / "www.jail"
        for name in ("run", "var/lib/www"):
            (jail / name).mkdir(parents=True)
        www = pwd.getpwnam("www-data").pw_uid
        write(jail, "/usr/sbin/nginx", Path("/usr/sbin/nginx").read_bytes(), 0o755, www)
        write(jail, "/usr/lib/x", Path("/bin/bash").read_bytes(), 0o755)
        device(jail, "/dev/zero", "c", 1, 1, 0o666)
        os.chmod(jail, 0o755)
        done = in_namespace(top, f"mount --bind {top} /srv", [*COMMAND, "audit", "-u", "www-data", "/srv/www.jail"])
        shown = done.out.partition("\nnote:")[0].rstrip()
        lines = [f"    {line}".rstrip() for line in ["# tracejail audit -u www-data /srv/www.jail", *shown.splitlines()]]
        assert "\n".join(lines) in _README.read_text("utf-8")


def table() -> str:
    """The scores as Markdown."""
    rows = [re.split(r"  +", line.strip()) for line in RESULTS.read_text().split("\n\n")[0].splitlines()[1:]]
    cells = [("jail of", "made by", "score", "objects"), ("---",) * 4, *((row[0], row[1], row[2], row[4]) for row in rows)]
    return "\n".join("| " + " | ".join(cell) + " |" for cell in cells)


def test_the_scores() -> None:
    assert table() in _README.read_text("utf-8"), "make it anew: python -m tests.audit.test_readme"


if __name__ == "__main__":
    written = _README.read_text("utf-8")
    made = re.sub(r"\| jail of \| made by.*?(?=\n\n)|@SCORES@", lambda _: table(), written, count=1, flags=re.DOTALL)
    _README.write_text(made, "utf-8")
