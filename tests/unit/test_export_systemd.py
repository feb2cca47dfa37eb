"""Units: what systemd would read in them is what the manifest says, whatever the names; or the format refuses with a reason."""

from __future__ import annotations

from dataclasses import replace

import boxed
import pytest
import unit_reader
from boxed import made
from hostile import EXAMPLES, request
from hypothesis import given
from nouns import device, directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.export.systemd import systemd
from tracejail.model import (
    Because,
    Command,
    Content,
    EntryType,
    JailPath,
    MadeDirectory,
    Manifest,
    PathNote,
    Service,
    Step,
    Use,
    Written,
)


def _values(data: bytes, key: str) -> list[str]:
    return [value for _, name, value in unit_reader.settings(data) if name == key]


def _paths(data: bytes, key: str) -> list[str]:
    return [unit_reader.plain(word) for value in _values(data, key) for word in unit_reader.words(value, False)]


def _check_commands(data: bytes, jail: Manifest) -> None:
    _, start = unit_reader.command(_values(data, "ExecStart")[0])
    assert start == list(jail.command.argv) and len(_values(data, "ExecStart")) == 1
    step = jail.command.service.before[0]
    prefixes, before = unit_reader.command(_values(data, "ExecStartPre")[0], "17")
    assert before == [word.replace("$MAINPID", "17") for word in step.argv]
    assert ("-" in prefixes, "!" in prefixes) == (step.may_fail, step.as_root)
    directory = [unit_reader.plain(each) for each in _values(data, "WorkingDirectory")]
    assert directory == ([] if jail.command.directory == "/" else [jail.command.directory])
    assert _values(data, "User") == (["33"] if jail.command.uid else ["0"]) and _values(data, "Group") == ["33"]


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_a_unit_of_any_names(jail: Manifest) -> None:
    data = boxed.made_or_refused("systemd", jail, name="odd")
    if data is None:
        return
    _check_commands(data, jail)
    assert _values(data, "RootDirectory") == ["/srv/jail"]
    assert _paths(data, "BindReadOnlyPaths") == ["-" + note.path for note in jail.sockets]
    writable = {path.removeprefix("+") for path in _paths(data, "ReadWritePaths")}
    fixed = {path.removeprefix("+") for path in _paths(data, "ReadOnlyPaths")}
    for one in jail.entries:
        chain = [one.path[:at] or "/" for at in range(len(one.path) + 1) if at == len(one.path) or one.path[at] == "/"]
        state = [path in writable for path in chain if path in writable | fixed]
        wanted = any(place.path in chain and place.path != "/" for place in jail.written)
        # Files of the root itself go with it.
        above = [known for known in jail.entries if known.path in chain and known.type is EntryType.DIRECTORY]
        wanted |= "/" in writable and not above
        assert (state[-1] if state else False) == wanted


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_a_unit_of_the_hosts_files(jail: Manifest) -> None:
    data = boxed.made_or_refused("systemd-bind", jail, name="odd")
    if data is None:
        return
    _check_commands(data, jail)
    shown: dict[str, str] = {}
    for key in ("BindReadOnlyPaths", "BindPaths"):
        for value in _values(data, key):
            pair = [unit_reader.plain(word) for word in unit_reader.words(value, False, ":")]
            assert len(pair) in (1, 2)
            shown[pair[-1].removeprefix("-")] = pair[0].removeprefix("-")
    empty = {word.rpartition(":")[0] for word in _paths(data, "TemporaryFileSystem")}
    for one in jail.entries:
        if one.type is EntryType.SYMLINK:
            continue
        covers = [path for path in shown if one.path == path or one.path.startswith(path + "/")]
        if one.type is EntryType.DIRECTORY:
            known = [*shown, *empty]
            assert any(path == one.path or path.startswith(one.path + "/") or one.path.startswith(path + "/") for path in known)
        else:
            best = max(covers, key=len)
            assert shown[best] + one.path.removeprefix(best) == one.path
    known_sources = {one.path for one in jail.entries} | {note.path for note in jail.sockets} | {"/proc"}
    assert set(shown.values()) <= known_sources
    # Nothing beneath a place that is only to be read is writable.
    assert set(_paths(data, "BindPaths")) <= {place.path for place in jail.written} | {"/proc"}


def test_names_over_links_lead_to_the_file() -> None:
    jail = manifest(
        directory("/usr"), directory("/usr/lib"), entry("/usr/lib/libc.so.6"), link("/lib", "usr/lib"), link("/l", "lib"),
        link("/usr/lib/l.so", "libc.so.6"), link("/usr/self", "."), link("/gone", "nowhere"), device("/null", 1, 3),
        directory("/empty", mode=0o711), link("/round", "round"),
    )
    pairs = [value.split(":") for value in _values(made("systemd-bind", jail), "BindReadOnlyPaths")]
    shown = {pair[-1]: pair[0] for pair in pairs}
    for path in ("/usr/lib", "/lib", "/l", "/usr/self/lib"):
        assert shown[f"{path}/libc.so.6"] == shown[f"{path}/l.so"] == "/usr/lib/libc.so.6"
    assert shown["/null"] == "/null" and "/gone" not in shown and "/round" not in shown
    assert _values(made("systemd-bind", jail), "TemporaryFileSystem") == ["/:ro", '"/empty:ro,mode=0711,uid=0,gid=0"']


def test_too_many_names_and_secrets_are_refused() -> None:
    links = [link(f"/usr/{letter}", ".") for letter in "abcdefghijkl"]
    with pytest.raises(ExportError, match="more than"):
        made("systemd-bind", manifest(directory("/usr"), entry("/usr/x"), *links))
    with pytest.raises(ExportError, match="/etc/shadow"):
        made("systemd-bind", manifest(directory("/etc"), entry("/etc/shadow", mode=0o640, content=Content.ACCOUNTS)))


def _service() -> Manifest:
    command = Command(
        ("/usr/sbin/d", "-f"), user="www-data", uid=33, gid=33, groups=(33, 44), ready="notify", reload="HUP", stop="INT",
        expect=3, environment=("LANG", "D_HOME", "HOME", "PATH"), directory="/var/lib/d",
        service=Service(
            before=(Step(("/bin/mk", "a b")),), after=(Step(("/bin/tell", "$MAINPID"), True, True),), umask=0o27,
            directories=(MadeDirectory(JailPath("/run/d"), 0o750, 33, 33), MadeDirectory(JailPath("/run/e"), 0o755, 33, 33)),
            sockets=("tcp:80", "udp:[::1]:53", "unix:/run/d sock"),
        ),
    )
    because = Because("/usr/sbin/d", "connect", "/dev/log")

    def place(path: str, uid: int, use: Use) -> Written:
        return Written(JailPath(path), EntryType.DIRECTORY, 0o755, uid, uid, use)

    return replace(
        manifest(directory("/var"), directory("/var/lib"), directory("/var/lib/d"), directory("/var/lib/full", uid=33, gid=33),
                 entry("/var/lib/full/x"), directory("/usr"), entry("/usr/su", mode=0o4755)),
        command=command, sockets=(PathNote("/dev/log", "bound", because),),
        written=(place("/srv", 0, Use.STATE), place("/var/lib/d", 33, Use.STATE), place("/var/lib/full", 33, Use.STATE),
                 place("/var/log/d", 0, Use.LOG)),
    )


def test_what_a_service_manager_does() -> None:
    data = made("systemd", _service(), name="d")
    told = {key: value for _, key, value in unit_reader.settings(data)}
    assert (told["Type"], told["User"], told["Group"], told["SupplementaryGroups"]) == ("notify", "www-data", "33", "44")
    assert (told["KillSignal"], told["SuccessExitStatus"], told["UMask"]) == ("SIGINT", "3", "0027")
    assert told["Sockets"] == "d.socket"
    assert told["PassEnvironment"] == "LANG D_HOME" and told["NoNewPrivileges"] == "no"
    assert told["ExecStartPre"] == '/bin/mk "a b"' and told["ExecStartPost"] == '-!/bin/tell "${MAINPID}"'
    # The second has another mode, which one directive can't say beside the first.
    assert (told["RuntimeDirectory"], told["RuntimeDirectoryMode"], told["StateDirectory"]) == ("d", "0750", "d")
    assert _paths(data, "ReadWritePaths") == ["+/srv", "+/var/lib/full", "+/var/log/d"]
    assert "CapabilityBoundingSet" not in told and b"systemctl kill --kill-whom=main -s SIGHUP d.service" in data
    socket = made("systemd-socket", _service(), name="d")
    assert _values(socket, "ListenStream") == ["80", "/run/d sock"] and _values(socket, "ListenDatagram") == ["[::1]:53"]


@pytest.mark.parametrize(("form", "odd", "named"), [
    ("systemd", Command(("httpd",)), "'httpd'"),
    ("systemd", Command(('/a"b/c',)), "'/a"),
    ("systemd", Command(("/usr/bin/[",)), "'['"),
    ("systemd", Command(("/a",), stop="TERM\nUser=x"), "TERM"),
    ("systemd", Command(("/a",), environment=("A=B",)), "A=B"),
    ("systemd", Command(("/a",), directory="/b\n"), "/b"),
    ("systemd-socket", Command(("/a",)), "no sockets"),
])
def test_what_is_refused(form: str, odd: Command, named: str) -> None:
    with pytest.raises(ExportError) as caught:
        made(form, manifest(entry("/a"), command=odd))
    assert named in caught.value.message and caught.value.hint and "\n" not in caught.value.message


def test_the_jail_has_to_be_somewhere() -> None:
    with pytest.raises(ExportError, match="no jail"):
        systemd(replace(request(manifest(entry("/a"))), jail=""))


def test_the_calls_that_were_seen() -> None:
    data = made("systemd", manifest(syscalls=("accept4", "read")))
    (names,) = _values(data, "SystemCallFilter")
    assert {"accept4", "read", "execve"} <= set(names.split()) and _values(data, "SystemCallErrorNumber") == ["ENOSYS"]
    unknown = made("systemd", manifest())
    assert not _values(unknown, "SystemCallFilter") and b"learn --syscalls" in unknown
