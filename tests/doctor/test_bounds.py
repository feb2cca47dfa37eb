"""What must hold whatever the target does: the host unchanged, the output bounded, the commands whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.doctor.jails import empty_jail, put, script
from tests.tool import tracejail

_MOST = 65536


def test_a_file_that_is_bound_into_the_jail_is_not_written() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/dash", "/bin/chmod")
        outside = jail.parent / "outside"
        outside.write_text("as it was\n")
        outside.chmod(0o644)
        (jail / "bound").touch()
        subprocess.run(["mount", "--bind", outside, jail / "bound"], check=True)
        words = "echo changed > /bound; chmod 777 /bound; chmod 700 /dev/null; true"
        tracejail("doctor", "-j", jail, "/bin/dash", "-c", words, cwd=Path("/"))
        assert outside.read_text() == "as it was\n"
        assert outside.stat().st_mode & 0o777 == 0o644
        assert (jail / "dev/null").stat().st_mode & 0o777 == 0o666


_FLOODS = {
    "a line without end": "i=0; l=x; while [ $i -lt 20 ]; do l=$l$l; i=$((i + 1)); done; echo $l >&2; exit 1",
    "many lines": "i=0; while [ $i -lt 20000 ]; do echo line $i \x1b[31m >&2; i=$((i + 1)); done; exit 1",
    "many things that the host has": "for f in $(cat /list); do [ -e $f ]; done; exit 1",
}


@pytest.mark.parametrize("name", _FLOODS)
@pytest.mark.parametrize("words", ((), ("-v",), ("--json",)), ids=("plain", "verbose", "json"))
def test_the_output_is_bounded(name: str, words: tuple[str, ...]) -> None:
    with empty_jail() as jail:
        put(jail, "/bin/dash", "/bin/cat")
        listed = [str(path) for path in Path("/usr/share").rglob("*") if path.is_file() and " " not in str(path)][:3000]
        assert len(listed) == 3000
        script(jail, "/list", "\n".join(listed), 0o644)
        script(jail, "/start.sh", "#!/bin/dash\n" + _FLOODS[name] + "\n")
        done = tracejail("doctor", "-j", jail, *words, "/start.sh", cwd=Path("/"))
        assert done.status in (1, 3)
        assert len(done.out.encode()) + len(done.err.encode()) < _MOST
        assert "\x1b" not in done.out
        if words == ("--json",):
            assert done.json["status"] == done.status


def test_a_command_is_never_cut() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/dash")
        done = tracejail("doctor", "-j", jail, "/bin/dash", "-c", "curl --version", cwd=Path("/"))
        command = next(line for line in done.out.splitlines() if line.strip().startswith("cure:")).partition("cure:")[2]
        assert command.rstrip().endswith(f"{jail}/")
        subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        assert (jail / "usr/bin/curl").exists()
