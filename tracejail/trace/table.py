"""The syscall table: one row a call that an engine hears of. Numbers from the kernel's syscall_64.tbl and
syscall_32.tbl; a new call is one row.

A row says which arguments are paths, from which directory descriptor they start, what the call wants of them, whether
a symlink in the last place is followed, and what the miss-only engine must hear of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from tracejail.kernel.seccomp import Action, Refuse, Trace
from tracejail.model import Want


class Decode(Enum):
    """How the arguments of a row are read."""

    PATHS = "paths"                # the row's paths
    LISTING = "listing"            # the descriptor in argument 0 is a directory that is read
    ADDRESS = "address"            # argument 1 is a sockaddr of length argument 2
    SEND_ADDRESS = "send-address"  # argument 4 is a sockaddr of length argument 5
    MESSAGE = "message"            # argument 1 is a struct msghdr
    MESSAGES = "messages"          # argument 1 is an array of struct mmsghdr, of which the first is read
    SOCKETCALL = "socketcall"      # i386: argument 0 says which call, argument 1 points to its arguments
    EVENT = "event"                # no path: the call itself is worth knowing
    IDS = "ids"                    # an event: argument 0 counts the 32-bit ids that argument 1 points to
    SHORT_IDS = "short-ids"        # the same, of 16-bit ids


class Watch(Enum):
    """When the miss-only engine hears of an x86-64 call, beside its failures. The seccomp engine, and the miss-only one
    for i386 calls, stop at the entry of each."""

    ENTRY = "entry"        # at each entry
    FAILURE = "failure"    # never
    INODE = "inode"        # where the inode that it tells of is a stand-in's
    PATH = "path"          # where its path is not known to be no stand-in's: it tells of no inode
    FANOTIFY = "fanotify"  # fanotify tells
    FANOTIFY_OR_PATH = "fanotify, or by path where a stand-in is no file or directory"


@dataclass(frozen=True, slots=True)
class Inode:
    """Where the inode number lies in what a stat-like call of x86-64 writes: argument, and offset in bytes."""

    argument: int
    at: int


@dataclass(frozen=True, slots=True)
class Path:
    """A path argument of a call."""

    argument: int
    directory: int | None = None   # the argument that holds the directory descriptor
    want: Want = Want.OBJECT
    follow: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A system call."""

    name: str
    x86_64: int | None
    i386: int | None
    paths: tuple[Path, ...] = ()
    decode: Decode = Decode.PATHS
    open_flags: int | None = None  # the argument that holds O_* flags
    how: int | None = None         # openat2: the argument that points to struct open_how
    at_flags: int | None = None    # the argument that holds AT_* flags
    trace: Action = Trace()
    changes: bool = False          # what a path leads to is another thing afterwards
    watch: Watch = Watch.ENTRY
    entry: Action | None = None    # of a call that is not stopped at each entry: where it is all the same
    inode: Inode | None = None     # for Watch.INODE


def _path(argument: int = 0, directory: int | None = None, want: Want = Want.OBJECT, follow: bool = True) -> Path:
    return Path(argument, directory, want, follow)


_FIRST = (_path(),)
_NO_FOLLOW = (_path(follow=False),)
_AT = (_path(1, 0),)
_CREATE = (_path(want=Want.CREATE, follow=False),)
_CREATE_AT = (_path(1, 0, Want.CREATE, follow=False),)
_REMOVE = (_path(want=Want.REMOVE, follow=False),)
_EVENT = Decode.EVENT
_FAILURE, _INODE, _BY_PATH, _FANOTIFY = Watch.FAILURE, Watch.INODE, Watch.PATH, Watch.FANOTIFY
_OPENED = Watch.FANOTIFY_OR_PATH
# An open that may make the file, and would keep what it holds, must find what the host has; one with O_PATH is no open
# for fanotify.
_MAKES = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND
_KEEPS = (
    (_MAKES, os.O_CREAT),
    (_MAKES | os.O_ACCMODE, os.O_CREAT | os.O_APPEND | os.O_RDWR),
    (_MAKES | os.O_ACCMODE, os.O_CREAT | os.O_APPEND | os.O_RDONLY),
    (os.O_PATH, os.O_PATH),
)
# st_ino of struct stat (asm/stat.h), stx_ino of struct statx (linux/stat.h).
_STAT, _STATX = Inode(1, 8), Inode(4, 32)
_CLONE_UNTRACED = 0x00800000

ROWS: tuple[Row, ...] = (
    Row("open", 2, 5, _FIRST, open_flags=1, watch=_OPENED, entry=Trace(1, cases=_KEEPS)),
    Row("creat", 85, 8, (_path(want=Want.CREATE),)),
    Row("openat", 257, 295, _AT, open_flags=2, watch=_OPENED, entry=Trace(2, cases=_KEEPS)),
    Row("openat2", 437, 437, _AT, how=2),
    Row("name_to_handle_at", 303, 341, (_path(1, 0, follow=False),), at_flags=4),
    Row("uselib", None, 86, _FIRST),
    Row("execve", 59, 11, (_path(want=Want.EXECUTE),)),
    Row("execveat", 322, 358, (_path(1, 0, Want.EXECUTE),), at_flags=4),
    Row("stat", 4, 106, _FIRST, watch=_INODE, inode=_STAT),
    Row("lstat", 6, 107, _NO_FOLLOW, watch=_INODE, inode=_STAT),
    Row("oldstat", None, 18, _FIRST),
    Row("oldlstat", None, 84, _NO_FOLLOW),
    Row("stat64", None, 195, _FIRST),
    Row("lstat64", None, 196, _NO_FOLLOW),
    Row("newfstatat", 262, None, _AT, at_flags=3, watch=_INODE, inode=Inode(2, 8)),
    Row("fstatat64", None, 300, _AT, at_flags=3),
    Row("statx", 332, 383, _AT, at_flags=2, watch=_INODE, inode=_STATX),
    Row("access", 21, 33, _FIRST, watch=_BY_PATH),
    Row("faccessat", 269, 307, _AT, watch=_BY_PATH),
    Row("faccessat2", 439, 439, _AT, at_flags=3, watch=_BY_PATH),
    Row("readlink", 89, 85, _NO_FOLLOW, watch=_BY_PATH),
    Row("readlinkat", 267, 305, (_path(1, 0, follow=False),), watch=_BY_PATH),
    Row("statfs", 137, 99, _FIRST, watch=_BY_PATH),
    Row("statfs64", None, 268, _FIRST, watch=_BY_PATH),
    Row("chdir", 80, 12, _FIRST, watch=_BY_PATH),
    Row("chroot", 161, 61, _FIRST),
    Row("truncate", 76, 92, _FIRST),
    Row("truncate64", None, 193, _FIRST),
    Row("chmod", 90, 15, _FIRST, watch=_BY_PATH),
    Row("fchmodat", 268, 306, _AT, watch=_BY_PATH),
    Row("fchmodat2", 452, 452, _AT, at_flags=3, watch=_BY_PATH),
    Row("chown", 92, 212, _FIRST),
    Row("chown", None, 182, _FIRST),
    Row("lchown", 94, 198, _NO_FOLLOW),
    Row("lchown", None, 16, _NO_FOLLOW),
    Row("fchownat", 260, 298, _AT, at_flags=4),
    Row("utime", 132, 30, _FIRST, watch=_BY_PATH),
    Row("utimes", 235, 271, _FIRST, watch=_BY_PATH),
    Row("futimesat", 261, 299, _AT, watch=_BY_PATH),
    Row("utimensat", 280, 320, _AT, at_flags=3, watch=_BY_PATH),
    Row("utimensat", None, 412, _AT, at_flags=3),
    Row("getxattr", 191, 229, _FIRST, watch=_BY_PATH),
    Row("lgetxattr", 192, 230, _NO_FOLLOW, watch=_BY_PATH),
    Row("listxattr", 194, 232, _FIRST, watch=_BY_PATH),
    Row("llistxattr", 195, 233, _NO_FOLLOW, watch=_BY_PATH),
    Row("setxattr", 188, 226, _FIRST, watch=_BY_PATH),
    Row("lsetxattr", 189, 227, _NO_FOLLOW, watch=_BY_PATH),
    Row("removexattr", 197, 235, _FIRST, watch=_BY_PATH),
    Row("lremovexattr", 198, 236, _NO_FOLLOW, watch=_BY_PATH),
    Row("inotify_add_watch", 254, 292, (_path(1),), watch=_BY_PATH),
    Row("fanotify_mark", 301, 339, (_path(4, 3),)),
    Row("mkdir", 83, 39, _CREATE),
    Row("mkdirat", 258, 296, _CREATE_AT),
    Row("mknod", 133, 14, _CREATE),
    Row("mknodat", 259, 297, _CREATE_AT),
    Row("symlink", 88, 83, (_path(1, want=Want.CREATE, follow=False),), changes=True),
    Row("symlinkat", 266, 304, (_path(2, 1, Want.CREATE, follow=False),), changes=True),
    Row("link", 86, 9, (_path(follow=False), _path(1, want=Want.CREATE, follow=False)), changes=True),
    Row("linkat", 265, 303, (_path(1, 0, follow=False), _path(3, 2, Want.CREATE, follow=False)), at_flags=4, changes=True),
    Row("rename", 82, 38, (_path(follow=False), _path(1, want=Want.CREATE, follow=False)), changes=True),
    Row("renameat", 264, 302, (_path(1, 0, follow=False), _path(3, 2, Want.CREATE, follow=False)), changes=True),
    Row("renameat2", 316, 353, (_path(1, 0, follow=False), _path(3, 2, Want.CREATE, follow=False)), changes=True),
    Row("unlink", 87, 10, _REMOVE),
    Row("unlinkat", 263, 301, (_path(1, 0, Want.REMOVE, follow=False),)),
    Row("rmdir", 84, 40, _REMOVE),
    Row("mount", 165, 21, (_path(1),), changes=True),
    Row("umount2", 166, 52, _FIRST, changes=True),
    Row("pivot_root", 155, 217, (_path(), _path(1)), changes=True),
    Row("swapon", 167, 87, _FIRST),
    Row("acct", 163, 51, _FIRST),
    Row("quotactl", 179, 131, (_path(1),)),
    Row("open_tree", 428, 428, _AT, at_flags=2),
    Row("getdents", 78, 141, decode=Decode.LISTING, watch=_FANOTIFY),
    Row("getdents64", 217, 220, decode=Decode.LISTING, watch=_FANOTIFY),
    Row("readdir", None, 89, decode=Decode.LISTING, watch=_FANOTIFY),
    Row("connect", 42, 362, decode=Decode.ADDRESS, watch=_FAILURE),
    Row("bind", 49, 361, decode=Decode.ADDRESS),
    Row("sendto", 44, 369, decode=Decode.SEND_ADDRESS, trace=Trace(4, 0xFFFFFFFFFFFFFFFF), watch=_FAILURE),
    Row("sendmsg", 46, 370, decode=Decode.MESSAGE, watch=_FAILURE),
    Row("sendmmsg", 307, 345, decode=Decode.MESSAGES, watch=_FAILURE),
    Row("socketcall", None, 102, decode=Decode.SOCKETCALL),
    Row("listen", 50, 363, decode=_EVENT),
    Row("setuid", 105, 213, decode=_EVENT),
    Row("setuid", None, 23, decode=_EVENT),
    Row("setgid", 106, 214, decode=_EVENT),
    Row("setgid", None, 46, decode=_EVENT),
    Row("setreuid", 113, 203, decode=_EVENT),
    Row("setreuid", None, 70, decode=_EVENT),
    Row("setregid", 114, 204, decode=_EVENT),
    Row("setregid", None, 71, decode=_EVENT),
    Row("setresuid", 117, 208, decode=_EVENT),
    Row("setresuid", None, 164, decode=_EVENT),
    Row("setresgid", 119, 210, decode=_EVENT),
    Row("setresgid", None, 170, decode=_EVENT),
    Row("setfsuid", 122, 215, decode=_EVENT),
    Row("setfsgid", 123, 216, decode=_EVENT),
    Row("setgroups", 116, 206, decode=Decode.IDS),
    Row("setgroups", None, 81, decode=Decode.SHORT_IDS),
    Row("fchown", 93, 207, decode=_EVENT),
    Row("fchown", None, 95, decode=_EVENT),
    Row("ptrace", 101, 26, decode=_EVENT),
    Row("seccomp", 317, 354, decode=_EVENT),
    Row("unshare", 272, 310, decode=_EVENT),
    Row("setns", 308, 346, decode=_EVENT),
    # A child made with CLONE_UNTRACED would escape the tracer: the stop strips the flag.
    Row("clone", 56, 120, decode=_EVENT, trace=Trace(0, _CLONE_UNTRACED)),
    # Its flags lie in memory that another thread can change; the C library falls back to clone.
    Row("clone3", 435, 435, trace=Refuse()),
    # Opens made through a ring are seen by neither ptrace nor seccomp; programs fall back.
    Row("io_uring_setup", 425, 425, trace=Refuse()),
    Row("io_uring_enter", 426, 426, trace=Refuse()),
    Row("io_uring_register", 427, 427, trace=Refuse()),
)

# socketcall(2): which call argument 0 names.
SOCKETCALLS = {2: "bind", 3: "connect", 4: "listen", 11: "sendto", 16: "sendmsg", 20: "sendmmsg"}

# Rows of no path, of which each call is an event.
EVENTS = frozenset((Decode.EVENT, Decode.IDS, Decode.SHORT_IDS))

# Calls after which a process may have another root directory.
REROOTS = frozenset(("chroot", "pivot_root", "unshare", "setns"))

# Calls that only look: they need a file's size, mode and time, not its bytes.
LOOKS = frozenset((
    "stat", "lstat", "oldstat", "oldlstat", "stat64", "lstat64", "newfstatat", "fstatat64", "statx", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "statfs", "statfs64", "chdir", "getxattr", "lgetxattr",
    "listxattr", "llistxattr", "inotify_add_watch",
))

# Calls that open: they have O_* flags.
OPENS = frozenset(row.name for row in ROWS if row.open_flags is not None or row.how is not None)

# The argument of the calls that ask for permissions that says which (R_OK, W_OK, X_OK).
PERMISSIONS = {"access": 1, "faccessat": 2, "faccessat2": 2}
