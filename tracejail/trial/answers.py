"""What to say to a miss: the function value that the tracer is handed, in its three manners.

LEARN brings what is missing while the target is stopped and has the call made again. COLLECT remembers it for after
the run (`--restart`). VERIFY answers nothing, shows nothing, and remembers what the host could have satisfied.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from tracejail.kernel.processes import credentials
from tracejail.model import Because, EntryType, Miss, MissKind, Origin, PathArgument, PathNote, SyscallRecord, Want
from tracejail.resolve.nsswitch import rung
from tracejail.trace.engine import Answer
from tracejail.trace.misses import absolute, misses
from tracejail.trace.misses import because as because_of
from tracejail.trace.table import LOOKS, OPENS, PERMISSIONS, ROWS

from .interpreters import interpreters
from .listeners import LOG
from .listings import bring_beneath, show, stock
from .supply import REMOVED, Refusal, Supply
from .walk import Place, Walk, join


class Manner(Enum):
    """How a run treats its misses."""

    LEARN = "learn"
    COLLECT = "collect"
    VERIFY = "verify"


_Key = tuple[object, ...]
_CHANGES = frozenset(row.name for row in ROWS if row.changes) | {"unlink", "unlinkat", "rmdir"}
# mkdir of what the host has is EEXIST there; `mkdir -p` makes each directory of a path in this way.
_MAKES_DIRECTORY = frozenset(("mkdir", "mkdirat"))
_MOVES = ("rename", "rmdir", "unlinkat")
SYSTEM_LOG = "the system log: a log daemon must listen there"
_NO_WAY_OUT = (-errno.ENETUNREACH, -errno.EHOSTUNREACH)
_NOT_TO_LIST = os.O_PATH | os.O_ACCMODE | os.O_CREAT


def _holds_content(flags: int) -> bool:
    """Whether an open that may make the file would read or keep what the host's file holds: a data base, not a log
    that is appended to, a lock that must not be there, or a file that is cut to nothing."""
    if not flags & os.O_CREAT or flags & (os.O_EXCL | os.O_TRUNC):
        return False
    return not (flags & os.O_ACCMODE == os.O_WRONLY and flags & os.O_APPEND)


@dataclass(slots=True)
class Answers:
    """The answering of one run."""

    supply: Supply
    manner: Manner
    heard: Callable[[str], None]         # told each miss line as it comes
    known: set[_Key] = field(default_factory=set)    # calls that succeeded: their next exit is not waited for
    touched: set[_Key] = field(default_factory=set)
    unreachable: dict[str, None] = field(default_factory=dict)  # addresses that the private network has no way to
    users: dict[int, str] = field(default_factory=dict)   # process -> its credentials, until they change
    retried: dict[int, tuple[str, str]] = field(default_factory=dict)   # thread -> the path of its last second try
    nowhere: set[_Key] = field(default_factory=set)       # questions that the host answers with no, too
    misses_only: bool = False            # the engine tells of no call that succeeds but of those that use stand-ins
    answered: int = 0
    serve_log: Callable[[str], bool] = lambda _: False   # bind the log socket at a path of the tree; whether it is new

    def sources(self) -> dict[int, Callable[[], None]]:
        """Descriptors that tell of waiting threads, and what answers them."""
        watch = self.supply.watch
        if watch is None:
            return {}
        return {
            watch.files_group: lambda: watch.serve_files(self._fill_for),
            watch.directories_group: lambda: watch.serve_directories(lambda path: stock(self.supply, path)),
        }

    def _fill_for(self, path: str, descriptor: int) -> bool:
        return self.supply.fill(path, descriptor) is None

    def enter(self, record: SyscallRecord) -> bool:
        """At the entry of a call; whether its result is wanted."""
        if record.syscall.startswith("exec"):
            self.forget_user(record.process)  # a set-user-ID program
        if record.syscall in _CHANGES:
            self.known.clear()
            self.nowhere.clear()
            if self.manner is not Manner.VERIFY:
                self._bring_whole(record)
        wanted = bool(record.address) and record.syscall == "connect"
        for argument in record.arguments:
            if argument.want is Want.LIST:
                self._list(record, argument)
            elif argument.want is Want.REMOVE:
                wanted = True
            else:
                wanted |= self._enter_path(record, argument)
        return wanted

    def _bring_whole(self, record: SyscallRecord) -> None:
        """A directory of the host that is moved takes all that the host has in it along; one that is to be removed is not
        empty."""
        if not record.syscall.startswith(_MOVES):
            return
        for argument in record.arguments:
            found = self.supply.resolve(argument.root, argument.base, argument.spelled, follow=False)
            if found.place is Place.FOUND and found.trial and found.hops and found.hops[-1].type is EntryType.DIRECTORY:
                most = self.supply.rules.max_names if argument.want is not Want.REMOVE else 1
                bring_beneath(self.supply, found.path, because_of(record, argument), most)

    def _enter_path(self, record: SyscallRecord, argument: PathArgument) -> bool:
        if argument.want is Want.CREATE:
            if _holds_content(record.flags) or record.syscall in _MAKES_DIRECTORY:
                key = self._question(record, argument)
                if key not in self.touched:
                    self.touched.add(key)
                    self._create_over(record, argument)
            self._use(record, argument)
            return True
        if not self.misses_only and self._key(record, argument) in self.known:
            return False
        self._use(record, argument)
        if self._may_list(record):
            # Before the open, not at the first read: a program that compares the directory's times in between, as
            # tar does, must find that nothing has changed.
            found = self.supply.resolve(argument.root, argument.base, argument.spelled, argument.follow)
            whole = found.place is Place.FOUND and not any(hop.missing for hop in found.hops)
            if whole and found.hops and found.hops[-1].type is EntryType.DIRECTORY:
                stock(self.supply, found.path)
        return True

    def used(self, record: SyscallRecord) -> Answer:
        """At the exit of a call that succeeded and may have used what is only shown."""
        for argument in record.arguments:
            if argument.want in (Want.OBJECT, Want.CREATE, Want.SOCKET):
                self._use(record, argument)
        return Answer.LEAVE

    def _use(self, record: SyscallRecord, argument: PathArgument) -> None:
        if self.supply.shown or self.supply.stand_ins:
            key = self._question(record, argument)
            if key not in self.touched:
                self.touched.add(key)
                self._fill(record, argument, record.syscall in LOOKS)

    def _question(self, record: SyscallRecord, argument: PathArgument) -> _Key:
        """What makes two calls the same question, whoever asks: the path, and how it is asked for."""
        looks = record.syscall in LOOKS
        return (argument.root, argument.base, argument.spelled, argument.follow, argument.want, looks)

    def _asked(self, record: SyscallRecord, argument: PathArgument) -> _Key:
        return (*self._question(record, argument), record.syscall)

    def _key(self, record: SyscallRecord, argument: PathArgument) -> _Key:
        """The question, and who asks it for what."""
        who = self.users.get(record.process)
        if who is None:
            who = self.users[record.process] = credentials(record.process)
        asked = record.words[PERMISSIONS[record.syscall]] if record.syscall in PERMISSIONS else record.flags
        return (*self._question(record, argument), asked, who)

    def forget_user(self, process: int) -> None:
        """The process is about to become another user."""
        self.users.pop(process, None)

    def _may_list(self, record: SyscallRecord) -> bool:
        opens = record.syscall in OPENS and not record.flags & _NOT_TO_LIST
        return opens and self.manner is not Manner.VERIFY

    def _fill(self, record: SyscallRecord, argument: PathArgument, looks: bool) -> None:
        """A stand-in that is about to be used gets its bytes, and each hop to it is noted as used."""
        found = self.supply.resolve(argument.root, argument.base, argument.spelled, argument.follow)
        if found.place is not Place.FOUND or not found.trial or any(hop.missing for hop in found.hops):
            return
        because = because_of(record, argument)
        if not looks:
            refusal = self.supply.fill(found.path)
            if refusal is not None:
                self._refused(refusal, because)
                return
        if argument.want is Want.EXECUTE:
            interpreters(self.supply, found.path, argument.root, argument.base, because, bring=True)
        # Links on the way to what was there before are noted after the run, by what the kernel says of them.
        if any(hop.path in self.supply.shown and (hop.last or hop.type is not EntryType.SYMLINK) for hop in found.hops):
            self.supply.note(found, Origin.MISS, because, MissKind.ABSENT)

    def _create_over(self, record: SyscallRecord, argument: PathArgument) -> None:
        """A call that makes a file where it finds none: what the host's file holds must be there first."""
        found = self.supply.resolve(argument.root, argument.base, argument.spelled, argument.follow, create=True)
        if found.place is Place.FREE:
            found = self.supply.resolve(argument.root, argument.base, argument.spelled, argument.follow)
        if found.place is not Place.FOUND:
            return
        if found.trial:
            if not any(hop.missing for hop in found.hops):
                self._fill(record, argument, looks=False)
            return
        because = because_of(record, argument)
        self._answer(Miss(MissKind.CREATE, because, argument, record.flags, record.process), found)

    def _list(self, record: SyscallRecord, argument: PathArgument) -> None:
        if self.manner is Manner.VERIFY or argument.spelled in self.supply.listed:
            return
        if show(self.supply, argument.spelled):
            self._heard(Miss(MissKind.LISTING, because_of(record, argument), argument))

    def finish(self, record: SyscallRecord) -> Answer:
        """At the exit of a call."""
        watch = self.supply.watch
        if watch and record.thread in watch.denied:
            watch.denied.discard(record.thread)
            return Answer.RETRY  # fanotify can only say EPERM; the file is gone by now, and the call is to find it so
        if record.result in _NO_WAY_OUT and record.address:
            self.unreachable[record.address.removeprefix("inet:")] = None
        if record.result >= 0 or record.result in (-errno.EEXIST, -errno.EISDIR, -errno.EINPROGRESS):
            self._succeeded(record)
            return Answer.LEAVE
        retry = False
        for miss in misses(record):
            retry |= self._miss(record, miss)
        if retry:
            self.answered += 1
            return Answer.RETRY
        settled = len(record.arguments) == 1 and self._asked(record, record.arguments[0]) in self.nowhere
        return Answer.KNOWN if settled else Answer.LEAVE

    def _succeeded(self, record: SyscallRecord) -> None:
        if record.syscall in _CHANGES and record.result == 0:
            self._changed(record)
        if self.misses_only:
            return
        for argument in record.arguments:
            key = self._key(record, argument)
            if key not in self.known and argument.want in (Want.OBJECT, Want.EXECUTE):
                if self.manner is Manner.COLLECT:
                    self._touch(record, argument)
                if argument.want is Want.OBJECT and not record.syscall.startswith("chroot"):
                    self.known.add(key)
            elif argument.want is Want.CREATE and self.manner is Manner.COLLECT:
                self._touch(record, argument)

    def _changed(self, record: SyscallRecord) -> None:
        """What the target took away is not brought back: on the host it would be gone as well."""
        self.known.clear()
        self.nowhere.clear()
        removed = self.supply.removed
        gone = record.arguments[:1] if record.syscall.startswith(("rename", "unlink", "rmdir")) else ()
        for argument in gone:
            found = self.supply.resolve(argument.root, argument.base, argument.spelled, follow=False, create=True)
            if not found.trial:
                removed.add(found.path)
        for argument in record.arguments[1:]:
            found = self.supply.resolve(argument.root, argument.base, argument.spelled, follow=False, create=True)
            removed.discard(found.path)

    def _touch(self, record: SyscallRecord, argument: PathArgument) -> None:
        create = argument.want is Want.CREATE
        found = self.supply.resolve(argument.root, argument.base, argument.spelled, argument.follow, create)
        because = because_of(record, argument)
        kind = MissKind.CREATE if create else MissKind.ABSENT
        self.supply.note(found, Origin.MISS, because, kind)
        if found.path in self.supply.saved:
            self.supply.saved.discard(found.path)
            self._heard(Miss(kind, because, argument, record.flags, record.process))
        if argument.want is Want.EXECUTE:
            interpreters(self.supply, found.path, argument.root, argument.base, because, bring=False)

    # --- misses ----------------------------------------------------------------------------------------------

    def _miss(self, record: SyscallRecord, miss: Miss) -> bool:
        argument = miss.argument
        database = rung(argument.spelled)
        if database:
            self.supply.asked_in_vain(record, database)
            return False
        if miss.kind is MissKind.DENIED:
            self._heard(miss)
            self._remember(self.supply.ledger.refused, argument, miss.because, "the kernel said no")
            return False
        create = argument.want is Want.CREATE
        key = self._asked(record, argument)
        if key in self.nowhere:
            return False
        if argument.want is Want.SOCKET and argument.spelled == LOG and self._log(record, miss):
            return True
        found = self.supply.resolve(argument.root, argument.base, argument.spelled, argument.follow, create)
        if found.place is Place.ABSENT or (found.place is Place.FAILS and not any(hop.missing for hop in found.hops)):
            if not (create and record.flags == 0 and record.syscall.startswith(("rename", "link"))):
                self._heard(miss)
            itself = found.path in self.supply.removed
            self._remember(self.supply.ledger.absent, argument, miss.because, REMOVED if itself else "not on the host either")
            # The engine would know the call by number and path, and O_CREAT is but a flag: its directory is not here yet.
            if create or record.syscall not in OPENS or not any(hop.missing for hop in found.hops):
                self.nowhere.add(key)
            return False
        if any(hop.missing for hop in found.hops):
            return self._answer(miss, found)
        if argument.want is Want.EXECUTE:
            return self._interpreter(record, miss, found)
        if argument.want is Want.SOCKET:
            # Another program of the trial may have made the socket; or nobody listens behind it.
            self._heard(miss)
            return False
        return self._came_meanwhile(record, argument)

    def _log(self, record: SyscallRecord, miss: Miss) -> bool:
        """The system log is part of the surroundings, whoever answers: it is served in a proving run too."""
        argument = miss.argument
        directory, _, name = LOG.rpartition("/")
        above = self.supply.resolve(argument.root, argument.base, directory, follow=True)
        if above.place is not Place.FOUND or any(hop.missing for hop in above.hops):
            if above.place is not Place.FOUND or self.manner is not Manner.LEARN or self.supply.refusal(above):
                return False
            self.supply.bring(above)
        path = join(above.path, name)
        if not self.serve_log(path):
            return False
        self.supply.note(above, Origin.MISS, miss.because, MissKind.SOCKET)
        self._heard(Miss(MissKind.SOCKET, miss.because, argument, miss.flags, miss.process))
        self.supply.ledger.sockets.setdefault(path, PathNote(path, SYSTEM_LOG, miss.because))
        return True

    def _came_meanwhile(self, record: SyscallRecord, argument: PathArgument) -> bool:
        """It is there by now: brought for another thread between this call's failure and its stop. Once more, but not
        twice: a call may fail on what is there for reasons of its own."""
        key = (argument.base, argument.spelled)
        again = record.result == -errno.ENOENT and self.retried.get(record.thread) != key
        if self.manner is not Manner.LEARN or not again:
            self.retried.pop(record.thread, None)
            return False
        self.retried[record.thread] = key
        return True

    def _answer(self, miss: Miss, found: Walk) -> bool:
        """Bring what a walk lacks, or say why not; whether the call is to be made again."""
        refusal = self.supply.refusal(found)
        if refusal is not None:
            self._heard(miss)
            self._refused(refusal, miss.because)
            return False
        self._heard(miss)
        if self.manner is not Manner.LEARN:
            ledger = self.supply.ledger
            path = next(hop.path for hop in found.hops if hop.missing)
            if path not in ledger.missing:
                ledger.missing[path] = PathNote(path, miss.kind.value, miss.because)
            ledger.pending.append((miss, found))
            return False
        brought = self.supply.bring(found)
        self.supply.note(found, Origin.MISS, miss.because, miss.kind)
        return brought

    def _interpreter(self, record: SyscallRecord, miss: Miss, found: Walk) -> bool:
        argument = miss.argument
        kind = Miss(MissKind.INTERPRETER, miss.because, argument, miss.flags, miss.process)
        bring = self.manner is Manner.LEARN
        brought = interpreters(self.supply, found.path, argument.root, argument.base, miss.because, bring)
        if bring and not brought:
            return self._came_meanwhile(record, argument)
        self._heard(kind)
        if not bring:
            ledger = self.supply.ledger
            ledger.missing.setdefault(found.path, PathNote(found.path, MissKind.INTERPRETER.value, miss.because))
            ledger.pending.append((kind, found))
        return brought

    def _refused(self, refusal: Refusal, because: Because) -> None:
        ledger = self.supply.ledger
        table = {
            "denied": ledger.denied, "virtual": ledger.virtual, "socket": ledger.sockets, "absent": ledger.absent
        }[refusal.kind]
        table.setdefault(refusal.path, PathNote(refusal.path, refusal.reason, because))

    def _remember(self, table: dict[str, PathNote], argument: PathArgument, because: Because, reason: str) -> None:
        path = absolute(argument)
        table.setdefault(path, PathNote(path, reason, because))

    def _heard(self, miss: Miss) -> None:
        self.heard(self.supply.ledger.line(miss))

    def bring_pending(self) -> int:
        """After a COLLECT or VERIFY run: note what was collected, in its order, for the next tree; how much it is. The
        tree of the run is not asked: what the target made in it itself is not what the host has."""
        self.supply.on_paper = True
        pending, self.supply.ledger.pending = self.supply.ledger.pending, []
        came = 0
        for miss, found in pending:
            if miss.kind is MissKind.INTERPRETER:
                argument = miss.argument
                came += interpreters(self.supply, found.path, argument.root, argument.base, miss.because, bring=True)
            else:
                came += self.supply.bring(found)
                self.supply.note(found, Origin.MISS, miss.because, miss.kind)
        return came
