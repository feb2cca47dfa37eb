"""Why a file can't be executed: execve(2) has one errno for six causes, and names none of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tracejail.model import EntryType

from .coping import came_through, coped, made_program, next_exec
from .devices import unmounted
from .facts import Call, Facts, Node, Way
from .finding import Action, Confidence, Finding, Kind
from .permissions import closed_to
from .remedies import bring

_RUNS = {"x86-64": {"x86-64", "i386"}, "aarch64": {"aarch64", "arm"}}
_START = 4096   # bytes of a file that may be a key
_DEPTH = 5   # of interpreters that are scripts themselves: the kernel allows four (exec_binprm in fs/exec.c)


def execution(facts: Facts) -> Iterator[Finding]:
    """Each exec that failed: the object that is the reason, and not the one that was named."""
    searches: dict[tuple[int, str], list[Call]] = {}
    fallback = 0
    for call in facts.failed():
        if not call.executes or not call.path:
            continue
        name = os.path.basename(call.path)
        if call.order == fallback:
            continue  # execvp(3) tries the shell where a file is no program, and overwrites errno
        if call.result == -errno.ENOEXEC:
            fallback = next_exec(facts, call)
        found = facts.jail.way(call.path).found
        if found is None and facts.made.get(facts.settled(call.path), (call.order, 0))[0] < call.order:
            yield from made_program(facts, call)
            continue
        if found is None and _is_search(call):
            searches.setdefault((call.record.process, name), []).append(call)
            continue
        claims = (fallback,) if call.result == -errno.ENOEXEC else ()
        yield from coped(facts, faults(facts, call.path, (call,), claims))
    for (_, name), calls in searches.items():
        if not came_through(facts, calls[-1]):
            yield from coped(facts, _not_found(facts, name, calls))


def named_program(facts: Facts) -> Iterator[Finding]:
    """What is wrong with the program that was asked for, by its files alone."""
    for path in (facts.program,) if facts.program else facts.programs:
        found = list(faults(facts, path, ())) if facts.run is None else []
        # What nobody asked for, and the host can't execute either, is no fault of the jail.
        as_ever = faults(replace(facts, jail=facts.host, mounts=()), path, ()) if found and not facts.argv else ()
        known = {(finding.rule, finding.path) for finding in as_ever}
        yield from (finding for finding in found if (finding.rule, finding.path) not in known)
    if facts.argv and not facts.program:
        name = facts.argv[0]
        places = [f"{directory.rstrip('/')}/{name}" for directory in facts.search]
        yield from nowhere(facts, name, places, ())


def faults(facts: Facts, path: str, calls: tuple[Call, ...], claims: tuple[int, ...] = ()) -> Iterator[Finding]:
    """Why a path can't be executed; nothing where it can."""
    state = calls[0].state if calls else None
    if state is not None:  # who it was by then
        facts = replace(facts, uid=state.uid, gid=state.gid, groups=state.groups)
    for finding in _faults(facts, path, _DEPTH):
        # Who could not be started is said where the interpreter of its interpreter is the reason.
        yield Finding(
            finding.rule, finding.confidence, finding.path, finding.message, finding.actions, calls, finding.evidence,
            finding.weight + 20, claims=claims,
        )


def _faults(facts: Facts, path: str, depth: int) -> Iterator[Finding]:
    way = facts.jail.way(path)
    node = way.found
    if node is None:
        yield _absent(facts, path, way)
        return
    if node.type is not EntryType.FILE:
        what = "a directory" if node.type is EntryType.DIRECTORY else f"no regular file ({node.type.value})"
        message = f"{path} is {what}, and can't be executed"
        yield Finding("not-a-program", Confidence.CERTAIN, path, message, bring_over(facts, path))
        return
    refused = _refused(facts, path, node, way)
    if refused:
        yield refused
    program = facts.jail.program(path)
    match program.kind:
        case "script":
            yield from _script(facts, path, program.interpreter, depth)
        case "elf":
            yield from _elf(facts, path)
        case "empty":
            yield Finding(
                "empty-program", Confidence.CERTAIN, path, f"{path} is empty (0 bytes)", bring_over(facts, path),
            )
        case _:
            yield Finding(
                "no-program", Confidence.LIKELY, path,
                f"{path} is neither an ELF file nor a script with \"#!\": the kernel says ENOEXEC, and a shell is tried for it",
                (Action(Kind.ADVICE, path, text=f"put a first line into {path} that names its interpreter, as #!/bin/sh"),),
            )


def bring_over(facts: Facts, path: str) -> tuple[Action, ...]:
    """The host's file in place of what the jail has there."""
    found = facts.host.way(path).found
    here = facts.jail.way(path).found
    if found is None or found.type is not EntryType.FILE or here is None:
        return ()
    if facts.secret(found.path, facts.host.start(found.path, _START)):
        return ()  # it is not brought unasked, and what is there is not taken away for nothing
    return (Action(Kind.REMOVE, here.path), Action(Kind.COPY, found.path))


def _absent(facts: Facts, path: str, way: Way) -> Finding:
    actions = bring(facts, path)
    links = way.links
    if way.why == "loop":
        return Finding(
            "link-loop", Confidence.CERTAIN, path, f"{path} is a link that leads to itself", (),
            evidence=tuple(_arrow(link) for link in links[-2:]),
        )
    if way.why == "not-a-directory":
        return Finding(
            "not-a-directory", Confidence.CERTAIN, way.stop, f"{way.stop}, on the way to {path}, is no directory in the jail", (),
        )
    if facts.dangles(path, way):
        return Finding(
            "dangling-link", Confidence.CERTAIN, way.lead,
            f"{path} is there, but as a link that leads to {way.lead}, which the jail lacks", actions,
            evidence=tuple(_arrow(link) for link in links),
        )
    top, kind = unmounted(facts, path)
    if top:
        message = f"{path} is to be executed, and no {kind} is mounted on {top} of the jail"
        return Finding("proc", Confidence.CERTAIN, top, message, (Action(Kind.MOUNT, top, text=kind),))
    hint = "the host has it" if actions else "and the host has it not either"
    confidence = Confidence.CERTAIN if actions else Confidence.LIKELY
    return Finding("program", confidence, path, f"{path} is not in the jail; {hint}", actions)


def _arrow(link: Node) -> str:
    return f"{link.path} -> {link.target}"


def _script(facts: Facts, path: str, interpreter: str, depth: int) -> Iterator[Finding]:
    if interpreter.endswith("\r"):
        yield Finding(
            "carriage-return", Confidence.CERTAIN, path,
            f"the first line of {path} ends with a carriage return: the kernel looks for {interpreter[:-1]}\\r",
            (Action(Kind.ADVICE, path, text=f"sed -i 's/\\r$//' on {path}: its lines end as those of DOS"),),
            evidence=(f"{path}: #!{interpreter[:-1]}\\r",),
        )
        return
    way = facts.jail.way(interpreter, base=facts.directory)
    line = f"{path}: #!{interpreter}"
    if way.found is None:
        actions = bring(facts, interpreter)
        through = f", a link that leads to {way.lead}" if facts.dangles(interpreter, way) else ""
        yield Finding(
            "script-interpreter", Confidence.CERTAIN, way.lead if through else interpreter,
            f"{interpreter}{through}, the interpreter of the script {path}, is not in the jail", actions, evidence=(line,),
        )
        return
    if depth:
        for finding in _faults(facts, way.found.path, depth - 1):
            yield Finding(
                finding.rule, finding.confidence, finding.path, f"{finding.message} (it is to run the script {path})",
                finding.actions, (), (line, *finding.evidence),
            )


def _elf(facts: Facts, path: str) -> Iterator[Finding]:
    program = facts.jail.program(path)
    if not program.whole:
        yield Finding(
            "broken-program", Confidence.CERTAIN, path, f"{path} is cut short or broken: it is not all that its headers say",
            bring_over(facts, path),
        )
        return
    if program.machine not in _RUNS.get(facts.machine, {facts.machine}):
        yield Finding(
            "architecture", Confidence.CERTAIN, path,
            f"{path} is a program for {program.machine}, and this machine is {facts.machine}", bring_over(facts, path),
            evidence=(f"{path}: ELF {program.bits}-bit, {program.machine}",),
        )
        return
    if not program.interpreter:
        return
    loader = facts.jail.way(program.interpreter)
    line = f"{path}: PT_INTERP {program.interpreter}"
    if loader.found is None:
        actions = bring(facts, program.interpreter)
        host = facts.host.way(program.interpreter)
        if host.found is not None and facts.jail.node(host.found.path) is not None:
            lacks = [link.path for link in host.links if facts.jail.node(link.path) is None]
            what = lacks[0] if lacks else program.interpreter
            message = f"{what}, a link on the host, is not in the jail: {program.interpreter} leads nowhere there"
            yield Finding("loader-link", Confidence.CERTAIN, what, message, actions, evidence=(line,))
            return
        through = f" ({loader.stop} is where it leads to)" if loader.links else ""
        hint = "" if actions else "; the host has it not either: the program is of another system (musl, say)"
        yield Finding(
            "loader", Confidence.CERTAIN, program.interpreter,
            f"{program.interpreter}, the loader of {path}, is not in the jail{through}{hint}", actions, evidence=(line,),
        )
        return
    own = facts.jail.program(loader.found.path)
    if own.kind != "elf" or not own.whole or (own.machine, own.bits) != (program.machine, program.bits):
        yield Finding(
            "loader", Confidence.CERTAIN, program.interpreter,
            f"{program.interpreter}, the loader of {path}, is no loader for it ({own.kind} {own.machine})".rstrip(),
            bring_over(facts, program.interpreter), evidence=(line,),
        )
    refused = _refused(facts, program.interpreter, loader.found, loader)
    if refused:
        yield refused


def _refused(facts: Facts, path: str, node: Node, way: Way) -> Finding | None:
    """Why the kernel says EACCES or EPERM for an exec."""
    if not node.mode & 0o111:
        mode = _host_mode(facts, path, node.mode | 0o555)
        return Finding(
            "no-x-bit", Confidence.CERTAIN, node.path,
            f"{node.path} has no x bit (mode {node.mode:04o}): not even root may execute it",
            (Action(Kind.MODE, node.path, mode=mode),), evidence=(node.standing,),
        )
    closed = closed_to(way, facts.uid, frozenset((facts.gid, *facts.groups)), 1)
    if closed is not None:
        mode = _host_mode(facts, closed.path, closed.mode | 0o011)
        return Finding(
            "closed-program", Confidence.CERTAIN, closed.path,
            f"{closed.path} is closed to user {facts.uid} (mode {closed.mode:04o}, owner {closed.uid}:{closed.gid})",
            (Action(Kind.MODE, closed.path, mode=mode),),
            evidence=(closed.standing,),
        )
    mount = facts.mount_of(node.path)
    if mount is not None and "noexec" in mount.flags:
        where = "the jail's file system" if mount.path == "/" else f"the mount on {mount.path}"
        return Finding(
            "noexec", Confidence.CERTAIN, mount.path, f"{node.path} lies on {where} ({mount.type}), which is mounted noexec",
            (Action(Kind.ADVICE, mount.path, text=f"mount -o remount,exec for {mount.path} of the jail, or a jail elsewhere"),),
            evidence=(f"mount {mount.path} type {mount.type} ({', '.join(sorted(mount.flags))})",),
        )
    return None


def _host_mode(facts: Facts, path: str, otherwise: int) -> int:
    found = facts.host.way(path).found
    return found.mode & 0o1777 if found is not None and found.mode & 0o111 else otherwise & 0o1777


# --- names that are looked for along PATH -----------------------------------------------------------------------------


def _is_search(call: Call) -> bool:
    return call.record.result in (-errno.ENOENT, -errno.ENOTDIR, -errno.EACCES)


def _not_found(facts: Facts, name: str, calls: Sequence[Call]) -> Iterator[Finding]:
    paths = list(dict.fromkeys(call.path for call in calls))
    whole = [path for path in paths if facts.jail.node(path) is not None]
    if len(paths) == 1 or whole:
        path = whole[0] if whole else paths[0]
        yield from faults(facts, path, tuple(call for call in calls if call.path == path), tuple(call.order for call in calls))
        return
    yield from nowhere(facts, name, paths, tuple(calls))


def nowhere(facts: Facts, name: str, paths: Iterable[str], calls: tuple[Call, ...]) -> Iterator[Finding]:
    """A name that is in no directory of PATH."""
    places = list(paths)
    there = next((place for place in places if facts.host.way(place).found is not None), "")
    elsewhere = "" if there else next(
        (node.path for node in facts.jail.everything() if os.path.basename(node.path) == name and node.mode & 0o111
         and node.type in (EntryType.FILE, EntryType.SYMLINK)), "")
    shown = ":".join(dict.fromkeys(os.path.dirname(place) for place in places))
    asks = f"; {calls[0].record.program} looks for it" if calls and calls[0].record.program else ""
    if elsewhere:
        message = f"{name} is at {elsewhere} in the jail, and PATH ({shown}) does not lead there{asks}"
        advice = Action(Kind.ADVICE, elsewhere, text=f"-E PATH={os.path.dirname(elsewhere)}:{shown}, or its full path")
        yield Finding("search-path", Confidence.CERTAIN, elsewhere, message, (advice,), calls, weight=20)
    elif there:
        message = f"{name} is in no directory of PATH ({shown}) in the jail; the host has {there}{asks}"
        yield Finding("program", Confidence.CERTAIN, there, message, bring(facts, there), calls, weight=20)
    else:
        message = f"{name} is in no directory of PATH ({shown}), in the jail or on the host{asks}"
        path = places[-1] if places else name
        yield Finding("program", Confidence.LIKELY, path, message, (), calls, weight=20)
