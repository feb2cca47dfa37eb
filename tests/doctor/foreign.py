"""Jails as other tools make them, of the files that this machine has: none of them knows tracejail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.doctor.jails import devices

# What debootstrap(8) always installs: the packages that are essential, and what they need.
ESSENTIAL = (
    "base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "findutils", "grep", "gzip",
    "hostname", "init-system-helpers", "libacl1", "libattr1", "libaudit1", "libblkid1", "libbz2-1.0", "libc-bin", "libc6",
    "libcap-ng0", "libcap2", "libcrypt1", "libdebconfclient0", "libgcc-s1", "libgcrypt20", "libgmp10", "libgpg-error0",
    "liblz4-1", "liblzma5", "libmd0", "libmount1", "libpam-modules", "libpam0g", "libpcre2-8-0", "libselinux1",
    "libsmartcols1", "libssl3", "libsystemd0", "libtinfo6", "libudev1", "libuuid1", "libzstd1", "login", "mawk",
    "ncurses-base", "ncurses-bin", "perl-base", "sed", "tar", "util-linux", "zlib1g",
)
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_NOT_NEEDED = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/")


def run(*words: str | Path, **more: str) -> str:
    """A tool that must succeed; what it prints."""
    done = subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True, cwd=more.get("cwd", "/"),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def skeleton(jail: Path, *links: str) -> None:
    """The directories that every system has, /usr merged."""
    for name in ("dev", "etc", "home", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var/log", "var/tmp"):
        (jail / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (jail / name).chmod(0o1777)
    for name in links:
        (jail / "usr" / name).mkdir(exist_ok=True)
        (jail / name).symlink_to(f"usr/{name}")


def package_files(*packages: str) -> list[str]:
    """What dpkg(1) says of packages, without what is only to be read; as they are with /usr merged."""
    found = []
    for path in run("dpkg", "-L", *packages).splitlines():
        top, _, rest = path.lstrip("/").partition("/")
        real = f"/usr{path}" if top in _MERGED and rest else path
        if path.startswith("/") and not path.startswith(_NOT_NEEDED) and path != "/." and os.path.lexists(real):
            found.append(real)
    return found


def packages(jail: Path, *names: str) -> None:
    """The files of packages, at their places."""
    with_links = [path for path in package_files(*names) if path.strip("/") not in _MERGED]
    subprocess.run(
        f"tar -C / -c --no-recursion --null -T - | tar -C '{jail}' -x", shell=True, check=True, capture_output=True,
        input="\0".join(path.lstrip("/") for path in with_links).encode(),
    )


def debootstrap(jail: Path) -> None:
    """A system of the essential packages, as their scripts leave it."""
    skeleton(jail, *(name for name in _MERGED if Path("/", name).is_symlink()))
    packages(jail, *ESSENTIAL)
    for name in ("passwd", "group"):
        (jail / "etc" / name).write_text(Path(f"/usr/share/base-passwd/{name}.master").read_text())
    (jail / "etc/nsswitch.conf").write_text(Path("/usr/share/libc-bin/nsswitch.conf").read_text())
    (jail / "etc/alternatives").mkdir(exist_ok=True)
    for name, target in (("awk", "/usr/bin/mawk"), ("which", "/usr/bin/which.debianutils")):
        (jail / "etc/alternatives" / name).symlink_to(target)
        (jail / "usr/bin" / name).symlink_to(f"/etc/alternatives/{name}")
    run("ldconfig", "-r", jail)
    devices(jail)


def by_ldd(jail: Path, *programs: str) -> None:
    """As the old how-tos have it: mkdir, cp, and the paths that ldd(1) prints; no links, no cache."""
    for program in programs:
        for path in (program, *(word for word in run("ldd", program).split() if word.startswith("/"))):
            place = jail / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            run("cp", "-L", path, place)


def compiled(jail: Path, path: str, text: str, *words: str) -> None:
    """A program of one's own."""
    place = jail / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    source = jail.parent / "main.c"
    source.write_text(text)
    compiler, *options = words or ("gcc",)
    run(compiler, source, "-o", place, *options)


def mount(place: Path, *options: str) -> None:
    """A mount of this test; tests.doctor.jails.empty_jail() takes it away."""
    run("mount", *options, place)
