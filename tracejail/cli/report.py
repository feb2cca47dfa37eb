"""What a result says to a person."""

from __future__ import annotations

import os
import shlex
from collections import Counter

from tabulate import tabulate

from tracejail.kernel.identities import powers
from tracejail.model import EntryType, LearnResult, Manifest, PathNote, Use
from tracejail.trial.supply import CLOSED

from .escape import escape, escape_text

_MOST_PACKAGES = 6
_MOST_NOTES = 8


def human(size: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def start_command(manifest: Manifest) -> list[str]:
    """The shell lines that start the jailed program."""
    if not powers().whole:
        return _start_without_root(manifest)
    jail = shlex.quote(manifest.jail)
    lines = []
    for mount in manifest.mounts:
        extra = " -o ro" if mount.type == "sysfs" else ""
        lines.append(f"mount -t {mount.type}{extra} {mount.type} {jail}{shlex.quote(mount.path)}")
    for note in manifest.sockets:
        lines.append(f"# bind the socket {escape(note.path)} into the jail, if the program is to reach it")
    command = manifest.command
    # By number: chroot(1) looks a name up in the jail, which need not have it.
    groups = f"--groups={','.join(map(str, command.groups))} " if command.groups else ""
    user = f"--userspec={command.uid}:{command.gid} {groups}" if command.user else ""
    words = " ".join(shlex.quote(word) for word in command.argv)
    if command.directory != "/":
        # chroot(1) starts in /: only a shell line of the host can say where else.
        lines.append(f"# it was learned with {escape(command.directory)} as its working directory")
    return [*lines, *_beside(manifest), f"chroot {user}{jail} {words}"]


def _start_without_root(manifest: Manifest) -> list[str]:
    """The same by a user: in a user namespace, the devices bound on the files that stand for them."""
    jail, command = shlex.quote(manifest.jail), manifest.command
    devices = " ".join(shlex.quote(entry.path) for entry in manifest.entries if entry.device and entry.path != "/dev/ptmx")
    steps = [f'for device in {devices}; do mount --bind "$device" {jail}"$device"; done'] if devices else []
    for mount in manifest.mounts:
        steps.append(f"mount -t {mount.type} {mount.type} {jail}{shlex.quote(mount.path)}")
        if mount.type == "devpts":
            steps.append(f"mount --bind {jail}/dev/pts/ptmx {jail}/dev/ptmx")
    words = shlex.join(command.argv)
    enter = f"chroot {jail} {words}"
    if command.uid:
        enter = f"unshare --map-user={command.uid} --map-group={command.gid} --root={jail} {words}"
    # Not exec: the first process of a pid namespace takes the others along, when a daemon goes into the background.
    ends = [enter, "status=$?", "while kill -0 -1 2>/dev/null; do sleep 1; done", "exit $status"]
    script = "; ".join(["set -e", *steps, "set +e", *ends])
    line = f"unshare --map-root-user --mount --pid --fork --kill-child sh -c {shlex.quote(script)}"
    if command.directory != "/":
        return [f"# it was learned with {escape(command.directory)} as its working directory", *_beside(manifest), line]
    return [*_beside(manifest), line]


def _beside(manifest: Manifest) -> list[str]:
    """What a service manager did for it, and no start line does."""
    command, service = manifest.command, manifest.command.service
    lines = []
    if command.environment:
        lines.append(f"# it was learned with these variables, whose values are not kept: {', '.join(command.environment)}")
    if service.umask >= 0:
        lines.append(f"# and with the umask {service.umask:04o}")
    for what, steps in (("before it", service.before), ("after it", service.after)):
        lines += [f"# {what}, in the jail: {shlex.join(step.argv)}" for step in steps]
    if service.sockets:
        lines.append(f"# it is given its listening sockets (sd_listen_fds(3)): {', '.join(service.sockets)}")
    if service.unit:
        lines.append("# tracejail export systemd makes a unit that does all of that")
    return [escape(line) for line in lines]


def _sizes(manifest: Manifest) -> list[str]:
    files = [entry for entry in manifest.entries if entry.type is EntryType.FILE]
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for entry in files:
        name = entry.package or "(no package)"
        count[name] += 1
        size[name] += entry.size if not entry.hard_link else 0
    rows = [(escape(name), count[name], human(total)) for name, total in size.most_common(_MOST_PACKAGES)]
    if len(size) > _MOST_PACKAGES:
        rest = [name for name, _ in size.most_common()[_MOST_PACKAGES:]]
        rows.append((f"{len(rest)} more", sum(count[name] for name in rest), human(sum(size[name] for name in rest))))
    total = human(sum(size.values()))
    table = tabulate(rows, headers=("package", "files", "size"), tablefmt="plain", disable_numparse=True)
    return [f"{len(files)} files, {total}, {len(manifest.entries)} entries in all:", *_indent(table.splitlines())]


def _indent(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]


def _notes(title: str, notes: tuple[PathNote, ...], reasons: bool) -> list[str]:
    if not notes:
        return []
    lines = [title]
    for note in notes[:_MOST_NOTES]:
        reason = f" ({note.reason})" if reasons else ""
        asked = f", asked for by {escape(note.because.program)}" if note.because.program else ""
        lines.append(f"  {escape(note.path)}{escape(reason)}{asked}")
    if len(notes) > _MOST_NOTES:
        lines.append(f"  and {len(notes) - _MOST_NOTES} more: see the manifest, or --json")
    return lines


def _written(manifest: Manifest) -> list[str]:
    """Where it writes, and what of the host's lies there: a data base, a spool."""
    if not manifest.written:
        return []
    lines = ["writes to (all else may be read-only):"]
    for place in manifest.written[:_MOST_NOTES]:
        line = f"  {escape(place.path)}{'/' if place.type is EntryType.DIRECTORY and place.path != '/' else ''}"
        beneath = [e for e in manifest.entries if e.type is EntryType.FILE and e.path.startswith(place.path.rstrip("/") + "/")]
        what = [] if place.use is Use.OTHER else [place.use.value]
        if beneath and place.use is not Use.OTHER:
            what.append(f"{len(beneath)} of the host's files came along, {human(sum(e.size for e in beneath))}")
        lines.append(line + (f" ({', '.join(what)})" if what else ""))
    if len(manifest.written) > _MOST_NOTES:
        lines.append(f"  and {len(manifest.written) - _MOST_NOTES} more: see the manifest")
    return lines


def _rounds(result: LearnResult) -> str:
    return "1 round" if result.rounds == 1 else f"{result.rounds} rounds"


def summary(result: LearnResult, learned: bool, verbose: bool) -> str:
    """The report of a learn (or verify), for a tired admin: the verdict first."""
    manifest = result.manifest
    lines = []
    if result.clean:
        lines.append(f"CLEAN after {_rounds(result)}, {result.seconds:.1f} s: {escape(result.ended)}")
    else:
        how = f"NOT CLEAN after {_rounds(result)}" if result.rounds else f"A FIRST GUESS after {result.seconds:.1f} s, NOT CLEAN"
        lines.append(f"{how}: {escape(result.reason)}")
        if result.hint:
            lines.append(f"  {escape(result.hint)}")
    for mount in manifest.mounts:
        lines.append(f"NEEDS A MOUNT: {mount.type} on {escape(mount.path)}; it ended badly without it")
    if result.output:
        lines += ["its last output:", *_indent(escape_text(result.output).splitlines())]
    if result.log:
        lines += ["it said to the system log:", *_indent(escape_text(result.log).splitlines())]
    if result.exercise_output:
        lines += ["the exercise said:", *_indent(escape_text(result.exercise_output).splitlines())]
    lines += _notes("still missing:", result.missing, True)
    closed = tuple(note for note in manifest.denied if note.reason == CLOSED)
    denied = tuple(note for note in manifest.denied if note.reason != CLOSED)
    lines += _notes("DENIED by the policy (--allow PATH lets it in):", denied, True)
    lines += _notes("DENIED by the host, as this user may not read it (root may):", closed, False)
    lines += _notes("sockets of other programs, to be bound into the jail:", manifest.sockets, False)
    if learned:
        lines += _written(manifest)
    for note in result.notes:
        lines.append(f"note: {escape(note)}")
    for warning in manifest.warnings:
        lines.append(f"warning: {escape(warning)}")
    if learned:
        lines += _sizes(manifest)
    if verbose:
        lines += _notes("absent on the host too:", manifest.absent, False)
    elif manifest.absent or result.harmless:
        lines.append(
            f"absent on the host too: {len(manifest.absent)} paths (-v names them), "
            f"and {len(result.harmless)} that are known to be harmless"
        )
    if learned and os.path.isdir(manifest.jail):
        lines += [f"jail:     {escape(manifest.jail)}", f"manifest: {escape(result.manifest_path)}"]
    if learned and not powers().whole:
        lines.append("made without root: its devices are empty files, and all in it is its maker's;")
        lines.append(f"  as root: tracejail build {escape(result.manifest_path)} -j DIR makes the true one")
    if learned and result.clean:
        lines += ["start it with:", *_indent(start_command(manifest))]
        if powers().whole:
            root = "" if manifest.command.uid else "--allow-root "
            lines += ["or with the least privilege:", f"  tracejail run {root}{shlex.quote(result.manifest_path)}"]
    return "\n".join(lines)


def formats_table() -> str:
    """A row a format of export: what it is, and the command that takes it."""
    from tracejail.export.formats import FORMATS

    rows = [(name, row.about, row.takes) for name, row in FORMATS.items()]
    return tabulate(rows, headers=("format", "what it is", "taken by"), tablefmt="plain", disable_numparse=True)
