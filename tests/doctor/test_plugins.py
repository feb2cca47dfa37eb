"""What a program loads or starts late: plugins, their own libraries, modules, programs that help it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, compiled, copy, empty_jail, learned, put, script

_JAVA = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"
_PYTHON, _PHP, _DASH, _TAR, _GIT = "/usr/bin/python3", "/usr/bin/php", "/usr/bin/dash", "/usr/bin/tar", "/usr/bin/git"
_SSL = (_PYTHON, "-I", "-c", "import ssl; print('ok')")
_MAIL = (_PHP, "-n", "-d", "sendmail_path=/usr/bin/true", "-r", "mail('a@localhost', 's', 't') or exit(1);")
_MBSTRING = (_PHP, "-r", "echo mb_strlen('four');")
_DLOPEN = """
#include <dlfcn.h>
#include <stdio.h>
int main(void) { void *p = dlopen("/usr/lib/plug.so", RTLD_NOW); puts(p ? "more" : "plain"); return 0; }
"""
_ZONES = (_PHP, "-n", "-r", "echo date_default_timezone_get();")


def _library(path: Path, source: str, *flags: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", path, "-", *flags], input=source.encode(), check=True)


def _java(jail: Path) -> None:
    put(jail, _JAVA)


def _plugin(jail: Path) -> None:
    """A program loads a plugin, which needs a library of the host's that nobody brought."""
    compiled("/usr/bin/prog", _DLOPEN)(jail)
    _library(jail / "usr/lib/plug.so", "int BZ2_bzlibVersion(void); int plug(void) { return BZ2_bzlibVersion(); }",
             "-Wl,--no-as-needed", "-x", "none", "/lib/x86_64-linux-gnu/libbz2.so.1.0")


def _astray(jail: Path) -> None:
    """A library that is named from where its program lies, which is a directory on the host and here a link."""
    source = "int dep(void); int main(void) { return dep(); }"
    _library(jail.parent / "libdep.so", "int dep(void) { return 0; }", "-Wl,-soname,libdep.so")
    flags = ("-L", str(jail.parent), "-ldep", "-Wl,-rpath,$ORIGIN/../lib")
    subprocess.run(["gcc", "-x", "c", "-o", jail.parent / "prog", "-", *flags], input=source.encode(), check=True)
    put(jail, _DASH)
    (jail / "proc").mkdir()
    for tree, program in ((jail, "srv/tools/bin"), (jail.parent / "host", "opt/app/bin")):
        (tree / program).mkdir(parents=True)
        shutil.copy2(jail.parent / "prog", tree / program / "prog")
        (tree / "opt/app/lib").mkdir(parents=True)
        shutil.copy2(jail.parent / "libdep.so", tree / "opt/app/lib")
    (jail / "opt/app/bin").symlink_to("../../srv/tools/bin")


def _without(path: str, *programs: str) -> Callable[[Path], None]:
    def build(jail: Path) -> None:
        put(jail, *programs)
        (jail / path.lstrip("/")).unlink()

    return build


def _archive(jail: Path) -> None:
    put(jail, _TAR, _DASH)
    (jail / "usr/bin/sh").symlink_to("dash")
    script(jail, "/etc/motd", "hi\n", 0o644)


def _git(jail: Path) -> None:
    put(jail, _GIT)
    copy(jail, "/usr/lib/git-core/git")


CASES = (
    Case("E12", _java, (_JAVA, "-version"), "/proc", "libjli.so: cannot open", "origin", more=True),
    Case("E13", _astray, ("/opt/app/bin/prog",), "/opt/app/bin", "libdep.so: cannot open", "astray",
         options=("--from", "{host}", "--mount", "proc")),
    Case("E18", learned(*_SSL, gone="/usr/lib/x86_64-linux-gnu/libcrypto.so.3"), _SSL, "/lib/x86_64-linux-gnu/libcrypto.so.3",
         "libcrypto.so.3: cannot open", "library", healthy="ok"),
    Case("E18, it says nothing", _plugin, ("/usr/bin/prog",), "/lib/x86_64-linux-gnu/libbz2.so.1.0", "plain", "library",
         healthy="more"),
    Case("E19", learned(*_MAIL, gone="/bin/sh"), _MAIL, "/bin/sh", "Could not execute mail delivery program", "program"),
    Case("E19, sh is there", lambda jail: put(jail, _DASH), (_DASH, "-c", "/usr/sbin/sendmail -V < /dev/null"),
         "/usr/sbin/sendmail", "not found", more=True),
    Case("E20, tar", _archive, (_TAR, "-czf", "/tmp.tgz", "/etc/motd"), "/usr/bin/gzip", "gzip: not found", "program", more=True),
    Case("E20, git", _git, (_GIT, "ls-remote", "https://localhost/x"), "/usr/lib/git-core/git-remote-https",
         "'remote-https' is not a git command", more=True),
    Case("P15", learned(*_MBSTRING, gone="/etc/php/8.2/cli/conf.d"), _MBSTRING, "/etc/php/8.2/cli/conf.d",
         "undefined function mb_strlen", "include-directory", more=True),
    Case("T4", learned(*_ZONES, gone="/usr/share/zoneinfo"), _ZONES, "/usr/share/zoneinfo", "database is corrupt"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)
