"""Ten broken jails, and what chroot(8), strace(1), ldd(1), file(1) and doctor say of each: the text in the README.

    python3 -m tests.doctor.side_by_side
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.doctor import test_compared, test_execution, test_libraries, test_names, test_surroundings
from tests.doctor.jails import Case, by_chroot, diagnosis, empty_jail

_ROWS: tuple[tuple[Iterable[Case], str], ...] = (
    (test_execution.CASES, "E1"),
    (test_execution.CASES, "E2"),
    (test_execution.CASES, "E7"),
    (test_libraries.CASES, "E10"),
    (test_surroundings.CASES, "E15"),
    (test_surroundings.CASES, "D3"),
    (test_surroundings.CASES, "immutable"),
    (test_names.CASES, "N2"),
    (test_compared.CASES, "one file of a directory of settings"),
    (test_names.CASES, "learned in another locale"),
)
_WIDTH = 118
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
_ERROR = re.compile(r"= -1 E")


def cases() -> tuple[Case, ...]:
    """The ten."""
    return tuple(case for family, name in _ROWS for case in family if case.name == name)


def side_by_side() -> Iterator[str]:
    """The lines."""
    for case in cases():
        with empty_jail() as jail:
            case.build(jail)
            yield f"$ {shlex.join(case.command)}"
            for tool, says in (
                ("chroot", _chroot(jail, case)), ("strace", _strace(jail, case)), ("ldd", _ldd(jail, case)),
                ("file", _file(jail, case)), ("doctor", _doctor(jail, case)),
            ):
                yield f"    {tool:<8}{_plain(says, jail)}"
            yield ""


def _plain(text: str, jail: Path) -> str:
    text = text.replace(str(jail), "JAIL")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def _chroot(jail: Path, case: Case) -> str:
    seen = by_chroot(jail, case.command)
    lines = seen.err.strip().splitlines()
    return lines[-1].removeprefix("chroot: ") if lines else f"(says nothing; status {seen.status})"


def _strace(jail: Path, case: Case) -> str:
    out = jail.parent / "strace"
    words = ["strace", "-f", "-e", "trace=%file", "-o", out, "chroot", jail, *case.command]
    subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False, env=_ENVIRONMENT, cwd="/")
    lines = [line.split(maxsplit=1)[1] for line in out.read_text("utf-8", "replace").splitlines()]
    entered = next((number for number, line in enumerate(lines) if line.startswith(f'execve("{case.command[0]}"')), 0)
    failed = [line for line in lines[entered:] if _ERROR.search(line)]
    if not failed:
        return "no call fails"
    last = re.sub(r" \(.*\)$", "", re.sub(r", 0x[0-9a-f]+( /\*.*?\*/)?", "", re.sub(r" +", " ", failed[-1])))
    return f"{len(failed)} calls fail; the last: {last}" if len(failed) > 1 else last


def _ldd(jail: Path, case: Case) -> str:
    done = subprocess.run(["ldd", _program(jail, case)], capture_output=True, text=True, check=False, env=_ENVIRONMENT)
    lost = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
    if done.returncode:
        return (done.stderr or done.stdout).strip().splitlines()[-1].removeprefix("ldd: ").strip()
    return ", ".join(lost) if lost else f"each of its {len(done.stdout.splitlines())} libraries is found (on the host)"


def _program(jail: Path, case: Case) -> Path:
    """The file in the jail, links followed as long as they lead somewhere there."""
    path = case.command[0]
    for _ in range(8):
        place = jail / os.path.realpath(jail / "bin").removeprefix(str(jail)).lstrip("/") if path == "/bin" else jail / path[1:]
        if not place.is_symlink() or not (jail / os.readlink(place).lstrip("/")).exists():
            return place
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(place)))
    return jail / path[1:]


def _file(jail: Path, case: Case) -> str:
    done = subprocess.run(["file", "-b", _program(jail, case)], capture_output=True, text=True, check=True)
    return re.sub(r"BuildID\S+ ", "", done.stdout.strip())


def _doctor(jail: Path, case: Case) -> str:
    first = diagnosis(jail, case)["findings"][0]
    return str(first["message"])


def main() -> None:
    """Print them."""
    print("\n".join(side_by_side()))


if __name__ == "__main__":
    main()
