"""Whether a target has gone quiet: no thread of it ran for a while, or what it does is nothing new."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Rest:
    """How long, in seconds, a target must have been how quiet. Each of the three will do."""

    asleep: float          # no thread of it ran
    restless: float        # nothing new came, though it wakes now and then, as one that polls
    busy: float            # nothing new came, though it never stops running


class Quiet:
    """A clock of what happened last. What is asked for again and again, as a clock's time zone, is no news."""

    def __init__(self) -> None:
        self.last_news = self.last_run = monotonic()
        self.news: tuple[object, ...] = ()
        self.time_run: int | None = None
        self.next_look = 0.0

    def hear(self, news: tuple[object, ...]) -> None:
        """Whatever would be different if something new had happened."""
        if news != self.news:
            self.news = news
            self.disturb()

    def disturb(self, seconds: float = 0.0) -> None:
        """Something happened, or will within `seconds`."""
        self.last_news = self.last_run = max(monotonic() + seconds, self.last_news)

    def lasts(self, processes: Iterable[int], rest: Rest) -> bool:
        """Whether the processes have rested so long."""
        now = monotonic()
        if now < self.next_look:
            return False
        time = _time_run(processes)
        self.next_look = now + 10 * (monotonic() - now)  # a thousand threads take a while to look at
        if time is None or time != self.time_run:
            self.time_run, self.last_run = time, max(now, self.last_run)
        silent = now - self.last_news
        if time is None:
            return silent >= rest.busy
        return silent >= rest.restless or min(silent, now - self.last_run) >= rest.asleep


def _time_run(processes: Iterable[int]) -> int | None:
    """Nanoseconds that all threads of these processes have run in all (schedstat, proc(5)); None if one of them runs or
    waits for a disk now. Two equal answers: nothing has happened in between."""
    total = 0
    for process in processes:
        try:
            threads = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                stat = _read(f"/proc/{process}/task/{thread}/stat")
                if stat[stat.rindex(b")") + 2 :][:1] in (b"R", b"D"):
                    return None
                total += int(_read(f"/proc/{process}/task/{thread}/schedstat").split()[0])
            except (OSError, ValueError, IndexError):
                continue  # it has ended; or a kernel without schedstat, where the states must do
    return total


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
