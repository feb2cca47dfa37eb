"""From a unit to the options of a trial: pure."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Collection, Iterator

from tracejail.model import Service, Step, TrialOptions

from .units import Unit

_SHELLS = ("sh", "bash", "dash")
_NAMES = {each.name.removeprefix("SIG"): each.name.removeprefix("SIG") for each in signal.Signals} | {
    str(int(each)): each.name.removeprefix("SIG") for each in signal.Signals
}


def trial_options(unit: Unit, given: Collection[str] = ()) -> TrialOptions:
    """The options that a unit stands for. `given` names those of the command line, which win: what the unit has in the
    place of one of them is left out."""
    target = unit.start[-1]
    reload, reload_signal = _with_signal(unit.reload)
    stop, stop_signal = _with_signal(unit.stop)
    return TrialOptions(
        argv=target.argv,
        jail=unit.name.removesuffix(".service") + ".jail",
        ready="notify" if unit.type in ("notify", "notify-reload") else "",
        reload=signal_name(unit.reload_signal) or reload_signal,
        again=True,
        stop=stop_signal or signal_name(unit.kill_signal) or "TERM",
        user="" if target.as_root else unit.user,
        directory=unit.directory,
        environment=unit.environment,
        service=Service(
            unit=unit.source,
            before=(*unit.before, *unit.start[:-1]),
            after=unit.after,
            reload=() if "reload" in given else reload,
            stop=() if "stop" in given else stop,
            directories=unit.directories,
            sockets=unit.sockets,
            pid_file=unit.pid_file,
            umask=unit.umask,
        ),
    )


def warnings(unit: Unit) -> tuple[str, ...]:
    """What of a unit is otherwise in a trial, a line each."""
    lines = list(unit.warnings)
    target = unit.start[-1]
    if signal_name(unit.kill_signal) == "":
        lines.append(f"{unit.name}: KillSignal={unit.kill_signal}: not a signal with a name; it is stopped with TERM")
    if target.as_root and unit.user:
        others = [step.argv[0] for step in (*unit.before, *unit.after, *unit.reload, *unit.stop) if not step.as_root]
        if others:
            words = ", ".join(dict.fromkeys(others))
            lines.append(f"{unit.name}: {words}: run as root, as the program is, and not as {unit.user}")
    return tuple(lines)


def describe(unit: Unit, options: TrialOptions) -> Iterator[str]:
    """What was taken from a unit, in lines; of the environment the names only."""
    service = options.service
    yield f"unit: {unit.name}, Type={unit.type}, of {' '.join(unit.paths)}"
    rows = (("before", service.before), ("after", service.after), ("reload", service.reload), ("stop", service.stop))
    yield f"unit: ExecStart {shlex.join(options.argv)}"
    for name, steps in rows:
        for step in steps:
            yield f"unit: {name} {shlex.join(step.argv)}"
    signals = f"reload {options.reload or 'no signal'}, stop {options.stop}"
    yield f"unit: user {options.user or 'root'}, in {options.directory}, {signals}, ready {options.ready or 'by itself'}"
    for made in service.directories:
        yield f"unit: makes {made.path}, mode {made.mode:04o}, of {made.uid}:{made.gid}"
    if service.sockets:
        yield f"unit: is given {' '.join(service.sockets)}"
    if service.pid_file:
        yield f"unit: says its process id in {service.pid_file}"
    yield f"unit: environment {' '.join(key for key, _ in options.environment)}"
    if unit.ignored:
        yield f"unit: of no effect in a trial: {' '.join(unit.ignored)}"


def signal_name(word: str) -> str:
    """A signal's name without SIG, from a name in any spelling or a number; "" for what is none."""
    return _NAMES.get(word.upper().removeprefix("SIG"), "")


def signal_sent(argv: tuple[str, ...]) -> str:
    """The signal that a command sends to the main process and does nothing else: `kill -HUP $MAINPID` in all its spellings,
    and in a shell. "" for any other command."""
    program = os.path.basename(argv[0])
    if program in _SHELLS and len(argv) == 3 and argv[1] == "-c":
        try:
            words = shlex.split(argv[2])
        except ValueError:
            return ""
        return signal_sent(tuple(words)) if words else ""
    if program != "kill":
        return ""
    rest, sent = list(argv[1:]), "TERM"
    if rest and rest[0] in ("-s", "-n", "--signal") and len(rest) > 1:
        sent, rest = rest[1], rest[2:]
    elif rest and rest[0].startswith("--signal="):
        sent, rest = rest[0].partition("=")[2], rest[1:]
    elif rest and rest[0].startswith("-") and rest[0] != "--":
        sent, rest = rest[0][2:] if signal_name(rest[0][2:]) and rest[0][1] == "s" else rest[0][1:], rest[1:]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    return signal_name(sent) if rest in (["$MAINPID"], ["${MAINPID}"]) else ""


def _with_signal(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], str]:
    """Steps without the last one where that only sends a signal, and the signal: so no kill(1) comes into the jail."""
    sent = signal_sent(steps[-1].argv) if steps else ""
    return (steps[:-1], sent) if sent else (steps, "")
