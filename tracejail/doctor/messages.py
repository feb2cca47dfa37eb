"""What programs say where a jail lacks something: words of the C library, the kernel and the shells, as rows of data. A first
help without the jail: a row says what a message may mean, and which facts decide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Message(NamedTuple):
    """A message that was recognised."""

    line: str
    means: str
    decides: str


# (expression; what it may mean in a jail; which facts decide). The first row that matches a line counts.
ROWS: tuple[tuple[str, str, str], ...] = (
    (r"error while loading shared libraries: (?P<name>\S+): cannot open shared",
     "the library {name} is not where the jail's loader looks", "whether it is in the jail at all, and ld.so.cache of the jail"),
    (r"Error loading shared library (?P<name>\S+?):", "the library {name} is not where the loader of musl looks",
     "/etc/ld-musl-*.path of the jail, and its /lib and /usr/lib"),
    (r"failed to map segment from shared object", "the library lies on a file system that is mounted noexec",
     "the flags of the mount, findmnt -T"),
    (r"version `(?P<name>[^']+)' not found", "a library of the jail is older than the program: it lacks {name}",
     "whether the jail's library has the bytes of the host's"),
    (r"(undefined symbol|symbol not found)", "a library of the jail is not of the same build as the program",
     "whether the jail's libraries have the bytes of the host's"),
    (r"(failed to run command|execvp?|exec) .*No such file or directory",
     "the program, or its loader (PT_INTERP), or the interpreter after #!, or what a link leads to, is not in the jail",
     "the file's first bytes, read in the jail"),
    (r"(failed to run command|execvp?|exec) .*Permission denied",
     "no x bit on the program or its interpreter, a directory above that is closed, or a mount with noexec",
     "modes and owners of each component; the flags of the mount"),
    (r"Exec format error|cannot execute binary file", "a program for another machine, an empty file, or a script without #!",
     "the file's first bytes"),
    (r"bad interpreter", "the interpreter after #! is not in the jail, or the line ends with a carriage return",
     "the first line of the script"),
    (r"(?P<name>\S+): (command )?not found", "{name} is in no directory of PATH in the jail", "PATH, and where the host has it"),
    (r"I have no name!|cannot find name for (user|group) ID|getpwnam|getpwuid|unknown user|no such user|user .* does not exist",
     "the jail's /etc/passwd is not there or lacks the account; before glibc 2.34 libnss_files.so.2 may be missing",
     "/etc/passwd and /etc/nsswitch.conf of the jail"),
    (r"getgrnam|unknown group|no such group", "the jail's /etc/group is not there or lacks the group", "/etc/group of the jail"),
    (r"Temporary failure in name resolution|Could not resolve host|Name or service not known|host not found",
     "resolv.conf, hosts or nsswitch.conf is not in the jail, or a name service module; or the network is not there",
     "/etc/resolv.conf, /etc/hosts and /etc/nsswitch.conf of the jail"),
    (r"certificate|CAfile|unable to get local issuer",
     "the jail has no certificates of authorities, or a link to them that leads nowhere",
     "/etc/ssl/certs of the jail, and openssl version -d"),
    (r"[Tt]ime ?zone|ZoneInfoNotFound|zoneinfo", "/usr/share/zoneinfo or /etc/localtime is not in the jail",
     "TZ, and /usr/share/zoneinfo of the jail"),
    (r"[Ss]etting locale failed|cannot change locale|unsupported locale", "the locale's files are not in the jail",
     "LANG and LC_*, and /usr/lib/locale of the jail"),
    (r"(/dev/(null|zero|random|urandom|tty|ptmx|fd)\S*)",
     "a device is not in the jail, is a regular file, or lies on a nodev mount",
     "ls -l of the jail's /dev; the flags of the mount"),
    (r"PTY allocation|openpty|getpt\b|posix_openpt", "devpts is not mounted in the jail, or /dev/ptmx is missing",
     "/dev/pts and /dev/ptmx of the jail"),
    (r"/proc\b", "proc is not mounted in the jail", "findmnt beneath the jail"),
    (r"Read-only file system", "the jail, or a part of it, is mounted read-only", "the flags of the mount"),
    (r"Too many open files", "the limit of open files (RLIMIT_NOFILE)", "/proc/PID/limits"),
    (r"Cannot allocate memory|Resource temporarily unavailable|can't start new thread|fork",
     "a limit of processes or memory (RLIMIT_NPROC, RLIMIT_AS, a cgroup), or a seccomp filter that refuses clone3",
     "/proc/PID/limits; Seccomp in /proc/PID/status"),
    (r"File size limit exceeded|File too large", "the limit of file size (RLIMIT_FSIZE)", "/proc/PID/limits"),
    (r"Bad system call|SIGSYS", "a seccomp filter kills for a system call", "Seccomp in /proc/PID/status"),
    (r"bad ownership or modes|writable root|not owned by|insecure",
     "a component of the path belongs to another than root, or others may write it", "ls -ld of each component, on the host"),
    (r"Address already in use", "another process listens there already: a former instance?", "ss -ltnp"),
    (r"bind.*Permission denied", "a port below 1024 without CAP_NET_BIND_SERVICE", "CapEff in /proc/PID/status"),
    (r"Operation not permitted", "a capability that the process has not, or a seccomp filter",
     "CapEff and Seccomp in /proc/PID/status"),
    (r"(?P<name>/\S+?)['\"):,]* .*Permission denied|Permission denied.*?(?P<other>/\S+)",
     "a component of the path is closed to the user that the program has become",
     "modes and owners of each component, in the jail"),
    (r"No such file or directory|ENOENT|does not exist|cannot open|can't open|not found",
     "a file, a directory above it, or what a link leads to is not in the jail", "whether the host has it"),
)
_COMPILED = tuple((re.compile(pattern), means, decides) for pattern, means, decides in ROWS)
_MOST = 20   # messages of a log


def explain(text: str) -> Iterator[Message]:
    """The messages in a text, each meaning once, in the order of the text."""
    told: set[str] = set()
    for line in text.splitlines():
        for pattern, means, decides in _COMPILED:
            match = pattern.search(line)
            if match is None:
                continue
            name = next((value for value in match.groupdict().values() if value), "it")
            meaning = means.replace("{name}", name)
            if meaning not in told and len(told) < _MOST:
                told.add(meaning)
                yield Message(line.strip(), meaning, decides)
            break
