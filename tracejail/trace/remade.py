"""Calls that a stop ends with EINTR, and that the kernel makes again for no one (signal(7), "never restarted")."""

from __future__ import annotations

# Calls that give EINTR for a stop, and have done nothing when they do; name, number of x86-64, of i386.
REMADE: tuple[tuple[str, int | None, int | None], ...] = (
    ("epoll_wait", 232, 256),
    ("epoll_pwait", 281, 319),
    ("epoll_pwait2", 441, 441),
    ("rt_sigtimedwait", 128, 177),
    ("rt_sigtimedwait_time64", None, 421),
    ("semop", 65, None),
    ("semtimedop", 220, None),
    ("semtimedop_time64", None, 420),
    ("ipc", None, 117),
    ("io_getevents", 208, 247),
    ("io_pgetevents", 333, 385),
    ("io_pgetevents_time64", None, 416),
    ("io_uring_enter", 426, 426),
    # Of a socket with a time-out (SO_RCVTIMEO, SO_SNDTIMEO of socket(7)).
    ("read", 0, 3),
    ("readv", 19, 145),
    ("accept", 43, None),
    ("accept4", 288, 364),
    ("recvfrom", 45, 371),
    ("recvmsg", 47, 372),
    ("recvmmsg", 299, 337),
    ("recvmmsg_time64", None, 417),
    ("sendto", 44, 369),
    ("sendmsg", 46, 370),
    ("sendmmsg", 307, 345),
)
# socketcall(2) of i386, and those of its calls that are of that kind: all but those that make, bind or connect a socket.
SOCKETCALL, SOCKETCALLS = 102, frozenset((5, 9, 10, 11, 12, 16, 17, 18, 19, 20))
