"""The processes of a run's target: which there are, which of them is the one that a signal is for, and signals to them."""

from __future__ import annotations

import contextlib
import os
import signal
import stat

from tracejail.jail.tree import Tree, find
from tracejail.kernel.processes import acts_on, children, inner_id, parent

_MOST_PID_FILES = 64


def signal_of(name: str) -> int:
    """The number of a signal's name that was checked before."""
    return int(name) if name.isdigit() else int(signal.Signals["SIG" + name.upper().removeprefix("SIG")])


class Members:
    """Process ids as the tracer has them; those in pid files and of sd_notify(3) are of the trial's own namespace."""

    def __init__(self, tree: Tree, argv: tuple[str, ...], pid_file: str) -> None:
        self.tree = tree
        self.all: set[int] = set()
        self.ever = 0                 # how many there were
        self.init = 0                 # the first process of the namespace; orphans are given to it
        self.first = 0                # the process that was started as the target, while it lives
        self.told = 0                 # the main process's id by MAINPID= of sd_notify(3)
        name = os.path.basename(argv[0])
        # Where a daemon that forks usually says which process it is (hier(7), daemon(7)).
        places = [f"/run/{name}.pid", f"/run/{name}/{name}.pid", f"/run/{name}/pid", f"/var/run/{name}.pid"]
        words = [word.rpartition("=")[2] for word in argv[1:]]
        self.pid_files = dict.fromkeys([pid_file] if pid_file else [*filter(is_pid_file, words), *places])
        self.sure = bool(pid_file)    # the user has named the one

    def add(self, process: int) -> None:
        """It was made."""
        if process not in self.all:
            self.all.add(process)
            self.ever += 1

    def remove(self, process: int) -> None:
        """It has ended."""
        self.all.discard(process)
        if process == self.first:
            self.first = 0

    def writes(self, path: str) -> None:
        """A path that a process makes; heard of now and then only, as the engine has it."""
        if not self.sure and is_pid_file(path) and len(self.pid_files) < _MOST_PID_FILES:
            self.pid_files[path] = None

    def main(self) -> list[int]:
        """The process that it names itself to the service manager, else the one that was started while it lives, else the
        one that a pid file names, else those that it left to the init."""
        if self.told and (said := self._inner(self.told)):
            return said
        if self.first:
            return [self.first]
        return self.by_pid_file() or self.orphans()

    def orphans(self) -> list[int]:
        """Those whose makers have ended."""
        return sorted(self.all & set(children(self.init))) if self.init else []

    def by_pid_file(self) -> list[int]:
        """The processes that its pid files name."""
        for path in self.pid_files:
            number = self._number_in(path)
            if number and (named := self._inner(number)):
                return named
        return []

    def acting_on(self, number: int) -> list[int]:
        """The main processes that a signal makes do something; where there are none, the uppermost ones beneath them."""
        acting = [process for process in self.main() if acts_on(process, number)]
        if acting:
            return acting
        every = {process for process in self.all if acts_on(process, number)}
        return sorted(process for process in every if parent(process) not in every)

    def send(self, process: int, number: int) -> None:
        """Send a signal to one of them."""
        if process in self.all:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def tell_to_end(self, name: str) -> None:
        """The stop signal for the main ones, or for all that are left to the init; stopped ones too."""
        for process in self.main() if self.first else self.orphans():
            self.send(process, signal_of(name))
            self.send(process, signal.SIGCONT)

    def kill_all(self) -> None:
        """SIGKILL for all of them."""
        for process in sorted(self.all):
            self.send(process, signal.SIGKILL)

    def _inner(self, number: int) -> list[int]:
        return [process for process in self.all if inner_id(process) == number]

    def _number_in(self, path: str) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError):
            found = find(self.tree, path)
            try:
                if stat.S_ISREG(os.fstat(found).st_mode):
                    with open(f"/proc/self/fd/{found}", encoding="ascii") as stream:
                        return int(stream.read(32).split()[0])
            finally:
                os.close(found)
        return 0


def is_pid_file(path: str) -> bool:
    """Whether a path has the name of a pid file."""
    return path.startswith("/") and path.endswith(".pid")
