"""The nouns of the project: frozen dataclasses and enumerations, no input or output.

Path names are `str` decoded with surrogateescape (os.fsdecode), so that any bytes survive a round trip.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

# An absolute path as seen from the jail's root: begins with "/", no "." or "..", no trailing "/".
JailPath = NewType("JailPath", str)
# A path as seen from the host root (`--from`, default "/"): the same spelling rules, another tree.
HostPath = NewType("HostPath", str)


class MissKind(Enum):
    """An access whose answer in the trial jail differs from the host's, by how it shows."""

    ABSENT = "absent"            # ENOENT or ENOTDIR
    INTERPRETER = "interpreter"  # execve ENOENT although the file is there
    LISTING = "listing"          # a directory read that lacks the host's names
    SOCKET = "socket"            # AF_UNIX connect or send to a path
    CREATE = "create"            # O_CREAT, mkdir, rename... into a parent that is not there
    DENIED = "denied"            # EACCES or EPERM


class Want(Enum):
    """What a system call wants of a path that it is given: a column of the syscall table."""

    OBJECT = "object"    # the object itself must exist
    EXECUTE = "execute"  # the object and its interpreter must exist
    CREATE = "create"    # the parent must exist; the object itself is made by the call
    REMOVE = "remove"    # the object goes away: nothing to bring
    LIST = "list"        # the directory's names are read
    SOCKET = "socket"    # an AF_UNIX socket to talk to


class EntryType(Enum):
    """The type of a jail entry, in the words of mtree(5)."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "link"
    CHARACTER = "char"
    BLOCK = "block"
    FIFO = "fifo"
    SOCKET = "socket"


# A result of a system call: it never returned, as the thread ended in it. No errno is so large (linux/err.h).
NEVER = -4096

# From the format bits of a mode, inode(7).
TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFSOCK: EntryType.SOCKET,
}


class Origin(Enum):
    """Why an entry is in a manifest."""

    ARGV = "argv"                            # the program itself
    MISS = "miss"                            # a call asked for it
    LISTING = "listing"                      # shown by a directory listing and then used
    SYMLINK = "symlink"                      # a hop on the way to another entry
    ELF_INTERPRETER = "elf-interpreter"      # PT_INTERP of an executed file
    ELF_NEEDED = "elf-needed"                # DT_NEEDED of a loaded file (static closure)
    SCRIPT_INTERPRETER = "script-interpreter"  # "#!" of an executed file
    PARENT = "parent"                        # a directory above another entry
    INCLUDE = "include"                      # --include
    SERVICE = "service"                      # a directory that the service manager makes
    BASE = "base"                            # what every jail has: the harmless devices


class Content(Enum):
    """Where a regular file's bytes come from when the jail is built."""

    HOST = "host"          # copied from the host, the same path
    ACCOUNTS = "accounts"  # passwd, group, shadow and kin, reduced to the manifest's accounts
    NSSWITCH = "nsswitch.conf"  # reduced to the services whose modules are in the jail
    LD_CACHE = "ld.so.cache"  # made anew for the libraries that are in the jail
    EMPTY = "empty"        # a name that is only listed


@dataclass(frozen=True, slots=True)
class PathArgument:
    """One path of a system call, read at the stop."""

    spelled: str           # as the tracee wrote it; may be relative
    base: str              # jail path of the directory that a relative path starts at (cwd or dirfd); "" if unknown
    root: str              # jail path of the tracee's root directory; "/" unless it called chroot
    want: Want
    follow: bool = True    # whether a symlink in the last place is followed


@dataclass(frozen=True, slots=True)
class SyscallRecord:
    """A path-carrying system call of a tracee; complete, so that the tracee is not asked again."""

    process: int           # thread group id, in the tracer's pid namespace
    thread: int
    program: str           # jail path of the executable that makes the call
    syscall: str
    architecture: str      # "x86-64" or "i386"
    arguments: tuple[PathArgument, ...]
    flags: int = 0         # open flags where the call has them
    result: int = 0        # >= 0, or a negative errno; meaningful at the exit only
    words: tuple[int, ...] = ()  # the raw arguments, as ids of setuid; of setgroups the ids themselves
    address: str = ""      # of a socket call: inet:ADDRESS:PORT, unix-abstract:NAME


@dataclass(frozen=True, slots=True, order=True)
class Because:
    """Who asked for a path: program, system call, and the path as it was spelled."""

    program: str
    syscall: str
    spelled: str


@dataclass(frozen=True, slots=True)
class Miss:
    """An access whose answer differs from the host's."""

    kind: MissKind
    because: Because
    argument: PathArgument
    flags: int = 0
    process: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One path that the jail must hold: a line of the manifest."""

    path: JailPath
    type: EntryType
    mode: int                      # permission bits, with setuid, setgid and sticky
    uid: int
    gid: int
    origin: Origin
    because: Because | None = None
    kind: MissKind | None = None   # the kind of the miss that asked for it
    size: int = 0                  # bytes; regular files only
    mtime_ns: int = 0              # regular files of content HOST only
    sha256: str = ""               # regular files only
    content: Content = Content.HOST
    target: str = ""               # symlinks only
    device: tuple[int, int] | None = None  # major, minor
    xattrs: tuple[tuple[str, str], ...] = ()  # name, value as hexadecimal digits
    hard_link: str = ""            # the first path of the same host inode, "" where this is the first or only one
    package: str = ""
    version: str = ""
    via: str = ""                  # the entry that brought this one (link -> target, program -> interpreter)
    phase: str = "start"           # of the run, in which it was first asked for: exercise, reload, stop, second start...
    hosts: tuple[str, ...] = ()    # labels of the merged hosts on which this is so; () where it is so on all


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount that the jail needs, as `proc` on /proc."""

    type: str     # proc, sysfs, devpts
    path: JailPath


@dataclass(frozen=True, slots=True)
class PathNote:
    """A path that did not become an entry, and why: absent, denied, a socket to bind."""

    path: str
    reason: str
    because: Because
    hosts: tuple[str, ...] = ()    # as of an entry


class Use(Enum):
    """What a place that a program writes to is for, by where it lies."""

    STATE = "state"
    LOG = "log"
    RUN = "run"
    TEMPORARY = "tmp"
    SPOOL = "spool"
    CACHE = "cache"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Written:
    """A place of the jail that the program writes to: a directory in which names come and go, or a file whose bytes change.
    All else in a jail may be read-only."""

    path: JailPath
    type: EntryType
    mode: int
    uid: int
    gid: int
    use: Use
    hosts: tuple[str, ...] = ()    # as of an entry


@dataclass(frozen=True, slots=True)
class Step:
    """A command that runs in the trial beside the target, to its end; as ExecStartPre= of systemd.service(5)."""

    argv: tuple[str, ...]           # $MAINPID in a word is the target's process id, as seen in the trial
    may_fail: bool = False          # its status does not matter ("-" in a unit)
    as_root: bool = False           # not as the target's user ("+" or "!" in a unit)


@dataclass(frozen=True, slots=True)
class MadeDirectory:
    """A directory that a service manager makes before each start, as RuntimeDirectory= of systemd.exec(5)."""

    path: JailPath
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """What a service manager does for the target beside starting it: steps in their order, directories, sockets."""

    unit: str = ""                              # of systemd that this was read from; its environment is read again
    before: tuple[Step, ...] = ()               # before each start
    after: tuple[Step, ...] = ()                # when it is ready
    reload: tuple[Step, ...] = ()               # before the reload signal, if there is one
    stop: tuple[Step, ...] = ()                 # before the stop signal
    directories: tuple[MadeDirectory, ...] = ()
    sockets: tuple[str, ...] = ()               # listening ones that it is given: tcp:[ADDRESS:]PORT, udp:, unix:PATH
    pid_file: str = ""                          # where a target that forks says which process it is
    umask: int = -1                             # that it starts with; -1: the caller's


@dataclass(frozen=True, slots=True)
class Command:
    """What was run, and how; enough for `verify` to run it again. Environment values are never stored."""

    argv: tuple[str, ...]
    directory: str = "/"
    user: str = ""                      # as -u named it
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    environment: tuple[str, ...] = ()   # names only
    kept: tuple[str, ...] = ()          # capabilities that it was given by name, where that was said
    exercises: tuple[str, ...] = ()
    ready: str = ""
    reload: str = ""
    reopen: str = ""
    again: bool = False
    stop: str = "TERM"
    expect: int = 0
    network: str = "private"
    service: Service = Service()


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """The machine that the files come from."""

    root: str          # the host root, `--from`
    distribution: str  # PRETTY_NAME of os-release
    kernel: str
    architecture: str


@dataclass(frozen=True, slots=True)
class MergedHost:
    """One machine of a merged manifest: its label there, and what of its own manifest is no list of paths."""

    label: str
    host: HostIdentity
    command: Command
    jail: str
    clean: bool


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that the jail's passwd and group are reduced to; `everything` keeps them whole. Where shadow is let in,
    those of `passwords` have theirs in it."""

    everything: bool = False
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    passwords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a jail needs: the truth from which it is built, checked and updated."""

    command: Command
    host: HostIdentity
    jail: str                                # path of the jail directory on this machine
    clean: bool
    accounts: Accounts = field(default_factory=Accounts)
    entries: tuple[Entry, ...] = ()          # sorted by path
    mounts: tuple[Mount, ...] = ()
    sockets: tuple[PathNote, ...] = ()       # AF_UNIX sockets of others, to be bound into the jail
    listens: tuple[str, ...] = ()            # what the target itself listens on
    syscalls: tuple[str, ...] = ()           # the calls that it made, by name; () where that was not noted
    written: tuple[Written, ...] = ()        # sorted by path
    capabilities: tuple[str, ...] = ()       # those that what was seen of it takes, by name
    absent: tuple[PathNote, ...] = ()
    denied: tuple[PathNote, ...] = ()
    warnings: tuple[str, ...] = ()
    merged: tuple[MergedHost, ...] = ()      # the machines that it was merged from; the first is the one of the fields above


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """What `learn` and `verify` are told about the target and the run."""

    argv: tuple[str, ...]
    jail: str = ""                       # path of the jail directory; "" takes NAME.jail in the current directory
    manifest: str = ""                   # "" takes JAIL.json beside the jail
    host_root: str = "/"
    exercises: tuple[str, ...] = ()      # shell commands
    ready: str = ""                      # tcp:PORT, unix:PATH, file:PATH, command:CMD; "" for the default
    reload: str = ""                     # signal name, or command:CMD, a shell command as an exercise is; "" for none
    reopen: str = ""                     # signal name: to open the logs again; "" for none
    again: bool = False                  # start it a second time, in what the first time left
    service: Service = Service()
    stop: str = "TERM"
    grace: float = 10.0                  # seconds from the stop signal to SIGKILL
    timeout: float = 60.0                # seconds that one run may take in all
    expect: int = 0                      # the exit status that is right for the target
    network: str = "private"             # private or host
    mounts: tuple[str, ...] = ()         # proc, sys, devpts
    accounts: str = "used"               # used or all
    user: str = ""
    directory: str = "/"
    environment: tuple[tuple[str, str], ...] = ()
    kept: tuple[str, ...] = ()           # capabilities by name, with or without cap_; () for the usual ones of its user
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()       # globs
    allows: tuple[str, ...] = ()         # globs of what the policy denies
    engine: str = "auto"                 # auto, seccomp
    listing: str = "used"                # used, names, all
    max_names: int = 20000               # names shown of one directory
    restart: bool = False
    max_rounds: int = 50
    replace: bool = False
    append: bool = False                 # add to the manifest and jail that are there
    stdin: str = ""                      # a file, "-" for all of standard input; "" for none
    syscalls: bool = False               # note which system calls are made
    interactive: bool = False            # the target has the terminal in the learning run


@dataclass(frozen=True, slots=True)
class LearnResult:
    """How a learn or a verify ended: what `cli` prints or dumps as JSON."""

    clean: bool
    status: int                          # exit status of the command, by the table in errors
    rounds: int
    seconds: float
    manifest: Manifest
    manifest_path: str
    missing: tuple[PathNote, ...] = ()   # misses that the host could satisfy and the last run still had
    harmless: tuple[PathNote, ...] = ()  # absent paths that the table of known harmless misses names
    reason: str = ""                     # why it is not clean, one line
    hint: str = ""                       # what to do about it, one line
    ended: str = ""                      # how the target ended, one line
    output: bytes = b""                  # the last lines of the target's own output
    exercise_output: bytes = b""         # the last lines of the exercise that failed
    log: bytes = b""                     # the last lines that it said to the system log
    phase: str = ""                      # of the run, in which it went wrong; "" where it is clean
    misses: tuple[str, ...] = ()         # every miss of the learning run: `kind syscall path`
    notes: tuple[str, ...] = ()          # for the summary only: opaque parts, differing output and the like
