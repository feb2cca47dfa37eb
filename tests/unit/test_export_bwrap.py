"""bwrap's arguments: read as bwrap reads them, they show the jail's files where the manifest has them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import boxed
import pytest
from boxed import made
from hostile import EXAMPLES
from hypothesis import given
from nouns import device, directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.model import Because, Command, EntryType, JailPath, Manifest, Mount, PathNote, Use, Written

# How many words follow an option.
_WORDS = {
    "--perms": 1, "--dir": 1, "--ro-bind": 2, "--bind": 2, "--bind-try": 2, "--dev-bind": 2, "--symlink": 2, "--proc": 1,
    "--remount-ro": 1, "--chdir": 1, "--cap-add": 1, "--uid": 1, "--gid": 1, "--unshare-user": 0, "--unshare-ipc": 0,
    "--unshare-pid": 0, "--unshare-uts": 0, "--die-with-parent": 0,
}
_BECAUSE = Because("/a", "connect", "/b")


@dataclass
class _Root:
    """What bwrap would have made: the last that covers a path counts."""

    made: list[tuple[str, str, str]] = field(default_factory=list)     # option, source, place
    options: dict[str, list[str]] = field(default_factory=dict)

    def at(self, path: str) -> tuple[str, str]:
        """The option that shows a path, and what of the host it is; of --dir, its mode."""
        for option, source, place in reversed(self.made):
            if path == place:
                return option, source
            if option.endswith(("bind", "bind-try")) and (place == "/" or path.startswith(place + "/")):
                return option, source + (path if place == "/" else path[len(place) :])
        return "", ""


def _read(data: bytes) -> _Root:
    assert data.endswith(b"\0")
    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")[:-1]]
    root, perms = _Root(), ""
    while words:
        option = words.pop(0)
        given = [words.pop(0) for _ in range(_WORDS[option])]
        root.options.setdefault(option, []).extend(given)
        if option == "--perms":
            perms = given[0]
            assert words[0] == "--dir"
        elif option == "--dir":
            root.made.append((option, perms, given[0]))
        elif option in ("--symlink", "--proc") or option.endswith(("bind", "bind-try")):
            root.made.append((option, given[0] if len(given) > 1 else "", given[-1]))
        # A parent that is not there would be made with bwrap's own mode.
    return root


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_the_jail_is_there(jail: Manifest) -> None:
    data = boxed.made_or_refused("bwrap", jail)
    if data is None:
        return
    root = _read(data)
    places = {place.path for place in jail.written}
    for one in jail.entries:
        option, source = root.at(one.path)
        inside = any(one.path == place or one.path.startswith(place + "/") for place in places - {"/"})
        if one.device:
            assert (option, source) == ("--dev-bind", "/srv/jail" + one.path)
        elif option == "--dir":
            assert one.type is EntryType.DIRECTORY and int(source, 8) == one.mode and not inside
        elif option == "--symlink":
            assert one.type is EntryType.SYMLINK and source == one.target
        else:
            assert source == "/srv/jail" + one.path
            at_top = one.path.count("/") == 1 and one.type is not EntryType.DIRECTORY
            assert option == ("--bind" if inside or "/" in places and at_top else "--ro-bind")
    for note in jail.sockets:
        assert root.at(note.path) == ("--bind-try", note.path)
    assert root.options["--chdir"] == [jail.command.directory]
    assert ("--remount-ro" in root.options) == ("/" not in places)
    assert root.options.get("--uid") == (["33"] if jail.command.uid else ["0"]) and "--cap-add" not in root.options


def test_what_is_not_of_the_jail_lies_in_directories_that_are_made() -> None:
    jail = manifest(
        directory("/dev"), device("/dev/null", 1, 3), directory("/run", mode=0o711), directory("/run/app", uid=5),
        directory("/run/other"), entry("/run/other/f"), link("/run/l", "other"), directory("/var"), link("/var/run", "/run"),
        sockets=(PathNote("/var/run/db.sock", "bound", _BECAUSE), PathNote("/dev/log", "bound", _BECAUSE)),
        mounts=(Mount("proc", JailPath("/proc")), Mount("devpts", JailPath("/dev/pts")), Mount("sysfs", JailPath("/sys"))),
        written=(Written(JailPath("/run/app"), EntryType.DIRECTORY, 0o755, 5, 0, Use.RUN),), command=Command(("/d",)),
    )
    root = _read(made("bwrap", jail))
    assert root.at("/dev") == ("--dir", "0755") and root.at("/run") == ("--dir", "0711")
    assert root.at("/run/other/f") == ("--ro-bind", "/srv/jail/run/other/f") and root.at("/run/l") == ("--symlink", "other")
    assert root.at("/run/app/pid") == ("--bind", "/srv/jail/run/app/pid")
    # bwrap would take the link for one of the host's.
    assert root.at("/run/db.sock") == ("--bind-try", "/var/run/db.sock")
    assert root.at("/dev/null") == ("--dev-bind", "/dev/null") and root.at("/dev/pts") == ("--dev-bind", "/dev/pts")
    assert root.at("/proc") == ("--proc", "") and root.at("/sys/x") == ("--ro-bind", "/sys/x")
    assert "CAP_SETUID" in root.options["--cap-add"] and "--unshare-user" not in root.options
    odd = replace(jail, entries=tuple(
        replace(one, uid=7, mode=0o700) if one.path == "/run" else one for one in jail.entries))
    with pytest.raises(ExportError, match="/run: "):
        made("bwrap", odd)


def test_more_arguments_than_it_takes() -> None:
    many = [entry(f"/{number}") for number in range(3000)]
    with pytest.raises(ExportError, match="9000"):
        made("bwrap", manifest(*many))
