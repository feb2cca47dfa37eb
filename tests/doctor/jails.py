"""Jails that are broken on purpose, of real programs of this machine; and what doctor is to say of them."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.tool import Done, processes, tracejail

_SERVICES = "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n"   # those in libc itself
LISTEN = "socat -u {kind}:{path},unlink-early /dev/null > /dev/null 2>&1 & sleep 0.3"
LOG_DAEMON = (LISTEN.replace("{kind}", "UNIX-RECV").replace("{path}", "{jail}/dev/log"),)
_KERNELS = re.compile(r" - (proc|sysfs|devpts) ")
_PLAIN = {"LC_ALL": "C"}   # a caller's locale is looked for by the target, and may be lacking too


@dataclass(frozen=True)
class Case:
    """A broken jail: how it is made, what is run in it, and the cause. `symptom` is what the user sees of it by chroot(8)."""

    name: str                                   # of cases.md where it is one of those
    build: Callable[[Path], None]
    command: tuple[str, ...]
    path: str                                   # of the cause
    symptom: str = ""                           # in what it says without doctor
    rule: str = ""                              # of the first finding; "" where the path says enough
    options: tuple[str, ...] = ()
    status: int = 1
    healthy: str = ""                           # what it says when the remedy is applied
    told: str = ""                              # in what it, or its client, says in doctor's own run: the symptom of a daemon
    seen: str = ""                              # in the evidence: the symptom of what is silent
    within: int = 1                             # the cause is among so many first findings
    by_hand: tuple[str, ...] = ()               # where the remedy is words: the commands that do what they say, for {jail}
    started: tuple[str, ...] | None = None      # where they are about how it is started: the options for that
    instead: tuple[str, ...] = ()               # the command for that
    more: bool = False                          # it has another fault, too, or can't run here for reasons of its own


@dataclass(frozen=True)
class Result:
    """What came of a case: a line of the table."""

    name: str
    program: str
    rule: str
    path: str
    position: int                               # of the right cause among the findings
    cured: str                                  # yes, or by hand: the remedy is words


@contextmanager
def empty_jail() -> Iterator[Path]:
    """A directory that any user may search; nothing is left of it, nor of mounts beneath."""
    place = Path(tempfile.mkdtemp(prefix="tracejail-doctor."))
    place.chmod(0o755)
    jail = place / "jail"
    jail.mkdir()
    try:
        yield jail
    finally:
        for process in processes(f"{place}/"):
            os.kill(process, signal.SIGKILL)   # who was started for a jail to talk to
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in sorted((point for point in points if point.startswith(f"{place}/")), reverse=True):
            subprocess.run(["umount", "-l", point], check=True)
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", place], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", place], check=True)


def put(jail: Path, *programs: str) -> None:
    """Programs of the host with all that they need by their own files, and the harmless devices."""
    done = tracejail("deps", "--json", *programs)
    assert done.status == 0, done.out
    for row in done.json:
        copy(jail, row["path"])
    for link in ("/bin", "/sbin", "/lib", "/lib64"):
        copy(jail, link)
    devices(jail)


def copy(jail: Path, path: str) -> None:
    """One object of the host's, its directories as they are there, links kept."""
    place = jail / path.lstrip("/")
    if place.is_symlink() or place.exists():
        return
    above = os.path.dirname(path)
    if above != "/":
        real = os.path.realpath(above)
        (jail / real.lstrip("/")).mkdir(parents=True, exist_ok=True)
        place = jail / real.lstrip("/") / os.path.basename(path)
    if place.is_symlink() or place.exists():
        return
    if os.path.islink(path):
        place.symlink_to(os.readlink(path))
    else:
        shutil.copy2(path, place)


def devices(jail: Path) -> None:
    """Those that every jail may have."""
    (jail / "dev").mkdir(exist_ok=True)
    for name, number in (("null", (1, 3)), ("zero", (1, 5)), ("random", (1, 8)), ("urandom", (1, 9))):
        place = jail / "dev" / name
        if not place.exists():
            os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(*number))
            place.chmod(0o666)


def script(jail: Path, path: str, text: str, mode: int = 0o755) -> None:
    """A file of text."""
    place = jail / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


def names(*programs: str, etc: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """Programs with the name services that they load, and these files of /etc."""

    def build(jail: Path) -> None:
        put(jail, *programs)
        (jail / "etc").mkdir(exist_ok=True)
        for name in etc:
            if name == "nsswitch.conf":
                script(jail, f"/etc/{name}", _SERVICES, 0o644)
            else:
                copy(jail, f"/etc/{name}")
                copy(jail, os.path.realpath(f"/etc/{name}"))

    return build


def learned(*command: str, gone: str | tuple[str, ...] = (), locale: str = "C") -> Callable[[Path], None]:
    """A jail that was learned in a locale, without some things."""

    def build(jail: Path) -> None:
        jail.rmdir()
        words = ("learn", "-q", "-j", jail, "-m", jail.parent / "jail.json", *command)
        done = tracejail(*words, cwd=Path("/"), env={"LC_ALL": locale})
        assert done.status == 0, done.err
        for path in (gone,) if isinstance(gone, str) else gone:
            place = jail / path.lstrip("/")
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()

    return build


def compiled(path: str, source: str, *flags: str, also: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """A program of C, with what it needs; `also`: objects of the host."""

    def build(jail: Path) -> None:
        made = jail.parent / "made"
        subprocess.run(["gcc", "-x", "c", "-o", made, "-", *flags], input=source.encode(), check=True)
        put(jail, str(made))
        for each in also:
            copy(jail, each)
        place = jail / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(jail / str(made).lstrip("/"), place)
        shutil.rmtree(jail / "tmp")

    return build


def digest(tree: Path) -> str:
    """Of all that is beneath: names, types, owners, modes, contents, times of the last change; not of the kernel's own."""
    total = hashlib.sha256()
    own = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if _KERNELS.search(line)}
    for top, directories, files in os.walk(tree):
        directories[:] = sorted(name for name in directories if os.path.join(top, name) not in own)
        for name in sorted((*directories, *files)):
            path = os.path.join(top, name)
            status = os.lstat(path)
            total.update(repr((path, status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)).encode())
            if stat.S_ISREG(status.st_mode):
                total.update(Path(path).read_bytes())
    return total.hexdigest()


def by_chroot(jail: Path, command: tuple[str, ...], options: tuple[str, ...] = ()) -> Done:
    """What the user sees without doctor; of doctor's options those that are about user and environment hold."""
    users = [pwd.getpwnam(options[at + 1]) for at, word in enumerate(options) if word == "-u"]
    user = [f"--userspec={account.pw_uid}:{account.pw_gid}" for account in users]
    settings = [options[at + 1] for at, word in enumerate(options) if word == "-E"]
    done = subprocess.run(
        ["chroot", *user, jail, *command], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, cwd="/",
        env={**os.environ, **_PLAIN, **dict(setting.split("=", 1) for setting in settings)},
    )
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def diagnosis(jail: Path, case: Case, *options: str) -> dict[str, Any]:
    """What doctor says of it; it must not change the jail."""
    before = digest(jail)
    own = [word.replace("{host}", str(jail.parent / "host")) for word in case.options]
    done = tracejail("doctor", "-j", jail, "--json", *own, *options, *case.command, cwd=Path("/"), env=_PLAIN)
    assert "Traceback" not in done.err
    assert digest(jail) == before
    assert len(done.out) < 65536
    return done.json


def check(jail: Path, case: Case) -> Result:
    """The symptom is there, the first finding is the cause, and its remedy cures it."""
    case.build(jail)
    if case.symptom:
        shown = by_chroot(jail, case.command, case.options)
        assert case.symptom in shown.out + shown.err, (shown.out, shown.err)
    said = diagnosis(jail, case)
    assert case.told in "\n".join(said["output"]), said
    assert said["findings"], said
    causes = [(each["rule"], each["path"]) for each in said["findings"]]
    right = [at for at, (rule, path) in enumerate(causes, 1) if path == case.path and case.rule in ("", rule)]
    assert right and right[0] <= case.within, [(each["rule"], each["path"], each["message"]) for each in said["findings"]]
    cause = said["findings"][right[0] - 1]
    assert any(case.seen in line for line in cause["evidence"]) or not case.seen, cause
    assert said["status"] == case.status, said
    words = case.by_hand or case.instead
    result = Result(case.name, case.command[0], cause["rule"], case.path, right[0], "by hand" if words else "yes")
    for command in (line.replace("{jail}", str(jail)) for line in case.by_hand or (() if case.instead else cause["remedy"])):
        assert str(jail) in command, command
        subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
    again = case if case.started is None else replace(case, options=case.started)
    again = replace(again, command=case.instead) if case.instead else again
    after = diagnosis(jail, again)
    assert [each for each in after["findings"] if (each["rule"], each["path"]) == (cause["rule"], cause["path"])] == []
    assert case.more or after["status"] == 0, [(each["rule"], each["path"], each["message"]) for each in after["findings"]]
    if case.healthy:
        shown = by_chroot(jail, again.command, again.options)
        assert case.healthy in "\n".join((shown.out, shown.err)), (shlex.join(again.command), shown.out, shown.err)
    return result
