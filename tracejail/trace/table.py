"""The syscall table: one row a call that the tracer stops at. Numbers from the kernel's syscall_64.tbl and
syscall_32.tbl; a new call is one row.

A row says which arguments are paths, from which directory descriptor they start, what the call wants of them, and
whether a symlink in the last place is followed.
"""

from __future__ import annotations

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


def _path(argument: int = 0, directory: int | None = None, want: Want = Want.OBJECT, follow: bool = True) -> Path:
    return Path(argument, directory, want, follow)


_FIRST = (_path(),)
_NO_FOLLOW = (_path(follow=False),)
_AT = (_path(1, 0),)
_CREATE = (_path(want=Want.CREATE, follow=False),)
_CREATE_AT = (_path(1, 0, Want.CREATE, follow=False),)
_REMOVE = (_path(want=Want.REMOVE, follow=False),)
_EVENT = Decode.EVENT
_CLONE_UNTRACED = 0x00800000

ROWS: tuple[Row, ...] = (
    Row("open", 2, 5, _FIRST, open_flags=1),
    Row("creat", 85, 8, (_path(want=Want.CREATE),)),
    Row("openat", 257, 295, _AT, open_flags=2),
    Row("openat2", 437, 437, _AT, how=2),
    Row("name_to_handle_at", 303, 341, (_path(1, 0, follow=False),), at_flags=4),
    Row("uselib", None, 86, _FIRST),
    Row("execve", 59, 11, (_path(want=Want.EXECUTE),)),
    Row("execveat", 322, 358, (_path(1, 0, Want.EXECUTE),), at_flags=4),
    Row("stat", 4, 106, _FIRST),
    Row("lstat", 6, 107, _NO_FOLLOW),
    Row("oldstat", None, 18, _FIRST),
    Row("oldlstat", None, 84, _NO_FOLLOW),
    Row("stat64", None, 195, _FIRST),
    Row("lstat64", None, 196, _NO_FOLLOW),
    Row("newfstatat", 262, None, _AT, at_flags=3),
    Row("fstatat64", None, 300, _AT, at_flags=3),
    Row("statx", 332, 383, _AT, at_flags=2),
    Row("access", 21, 33, _FIRST),
    Row("faccessat", 269, 307, _AT),
    Row("faccessat2", 439, 439, _AT, at_flags=3),
    Row("readlink", 89, 85, _NO_FOLLOW),
    Row("readlinkat", 267, 305, (_path(1, 0, follow=False),)),
    Row("statfs", 137, 99, _FIRST),
    Row("statfs64", None, 268, _FIRST),
    Row("chdir", 80, 12, _FIRST),
    Row("chroot", 161, 61, _FIRST),
    Row("truncate", 76, 92, _FIRST),
    Row("truncate64", None, 193, _FIRST),
    Row("chmod", 90, 15, _FIRST),
    Row("fchmodat", 268, 306, _AT),
    Row("fchmodat2", 452, 452, _AT, at_flags=3),
    Row("chown", 92, 212, _FIRST),
    Row("chown", None, 182, _FIRST),
    Row("lchown", 94, 198, _NO_FOLLOW),
    Row("lchown", None, 16, _NO_FOLLOW),
    Row("fchownat", 260, 298, _AT, at_flags=4),
    Row("utime", 132, 30, _FIRST),
    Row("utimes", 235, 271, _FIRST),
    Row("futimesat", 261, 299, _AT),
    Row("utimensat", 280, 320, _AT, at_flags=3),
    Row("utimensat", None, 412, _AT, at_flags=3),
    Row("getxattr", 191, 229, _FIRST),
    Row("lgetxattr", 192, 230, _NO_FOLLOW),
    Row("listxattr", 194, 232, _FIRST),
    Row("llistxattr", 195, 233, _NO_FOLLOW),
    Row("setxattr", 188, 226, _FIRST),
    Row("lsetxattr", 189, 227, _NO_FOLLOW),
    Row("removexattr", 197, 235, _FIRST),
    Row("lremovexattr", 198, 236, _NO_FOLLOW),
    Row("inotify_add_watch", 254, 292, (_path(1),)),
    Row("fanotify_mark", 301, 339, (_path(4, 3),)),
    Row("mkdir", 83, 39, _CREATE),
    Row("mkdirat", 258, 296, _CREATE_AT),
    Row("mknod", 133, 14, _CREATE),
    Row("mknodat", 259, 297, _CREATE_AT),
    Row("symlink", 88, 83, (_path(1, want=Want.CREATE, follow=False),)),
    Row("symlinkat", 266, 304, (_path(2, 1, Want.CREATE, follow=False),)),
    Row("link", 86, 9, (_path(follow=False), _path(1, want=Want.CREATE, follow=False))),
    Row("linkat", 265, 303, (_path(1, 0, follow=False), _path(3, 2, Want.CREATE, follow=False)), at_flags=4),
    Row("rename", 82, 38, (_path(follow=False), _path(1, want=Want.CREATE, follow=False))),
    Row("renameat", 264, 302, (_path(1, 0, follow=False), _path(3, 2, Want.CREATE, follow=False))),
    Row("renameat2", 316, 353, (_path(1, 0, follow=False), _path(3, 2, Want.CREATE, follow=False))),
    Row("unlink", 87, 10, _REMOVE),
    Row("unlinkat", 263, 301, (_path(1, 0, Want.REMOVE, follow=False),)),
    Row("rmdir", 84, 40, _REMOVE),
    Row("mount", 165, 21, (_path(1),)),
    Row("umount2", 166, 52, _FIRST),
    Row("pivot_root", 155, 217, (_path(), _path(1))),
    Row("swapon", 167, 87, _FIRST),
    Row("acct", 163, 51, _FIRST),
    Row("quotactl", 179, 131, (_path(1),)),
    Row("open_tree", 428, 428, _AT, at_flags=2),
    Row("getdents", 78, 141, decode=Decode.LISTING),
    Row("getdents64", 217, 220, decode=Decode.LISTING),
    Row("readdir", None, 89, decode=Decode.LISTING),
    Row("connect", 42, 362, decode=Decode.ADDRESS),
    Row("bind", 49, 361, decode=Decode.ADDRESS),
    Row("sendto", 44, 369, decode=Decode.SEND_ADDRESS, trace=Trace(4, 0xFFFFFFFFFFFFFFFF)),
    Row("sendmsg", 46, 370, decode=Decode.MESSAGE),
    Row("sendmmsg", 307, 345, decode=Decode.MESSAGES),
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
    Row("setgroups", 116, 206, decode=_EVENT),
    Row("fchown", 93, 207, decode=_EVENT),
    Row("fchown", None, 95, decode=_EVENT),
    Row("fchdir", 81, 133, decode=_EVENT),
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
