"""What service units mean, and what the command line makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from roots import LIB, Make, raises, unit_of

from tracejail.cli.commands import dispatch
from tracejail.errors import UsageError
from tracejail.model import LearnResult, MadeDirectory, Manifest, Step, TrialOptions
from tracejail.resolve.accounts import find_identity
from tracejail.resolve.dynamic_user import FIRST, LAST, dynamic_id, siphash24
from tracejail.resolve.host import open_host_root
from tracejail.resolve.unit_options import describe, signal_sent, trial_options, warnings
from tracejail.resolve.unit_syntax import (
    split,
)
from tracejail.resolve.units import read_unit

# --- what they mean ---------------------------------------------------------------------------------------------------


def test_lists_are_reset_and_scalars_replaced(make: Make) -> None:
    unit = unit_of(make, "ExecStart=/a\nExecStart=\nExecStart=/b\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2 B=3\n"
                         "WorkingDirectory=/x\nWorkingDirectory=\nKillSignal=SIGINT\nKillSignal=QUIT")
    assert unit.start == (Step(("/b",)),) and unit.directory == "/" and unit.kill_signal == "QUIT"
    assert [pair for pair in unit.environment if pair[0] in "AB"] == [("B", "3")]


@pytest.mark.parametrize(
    ("settings", "user", "identity"),
    [
        ("", "", None),
        ("User=web", "web", (33, 34, (34, 50))),
        ("User=33", "web", (33, 34, (34, 50))),
        ("User=web\nGroup=web", "web", (33, 34, (34, 50))),
        ("User=web\nGroup=log", "web:log", (33, 51, (50, 51))),
        ("User=web\nSupplementaryGroups=log", "web:34,log", (33, 34, (34, 50, 51))),
        ("Group=log", "0:log", (0, 51, ())),
        ("User=root", "root", (0, 0, (0,))),
        ("User=4242", "4242:4242", (4242, 4242, ())),
        ("DynamicUser=yes\nUser=web", "web", (33, 34, (34, 50))),
    ],
)
def test_users(make: Make, settings: str, user: str, identity: object) -> None:
    unit = unit_of(make, settings)
    assert unit.user == user
    if identity:
        assert find_identity(make(), user) == identity


def test_users_that_are_not_there(make: Make) -> None:
    for settings in ("User=nobody-here", "User=web\nGroup=nogroup-here"):
        with raises("not known on the host"):
            unit_of(make, settings)


def test_a_dynamic_user(make: Make) -> None:
    # The test vector of SipHash's paper.
    assert siphash24(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5
    unit = unit_of(make, "DynamicUser=yes\nStateDirectory=a")
    number = dynamic_id("a")
    assert FIRST <= number <= LAST and unit.user == f"{number}:{number}" and "DynamicUser" in unit.warnings[0]
    assert unit.directories == (MadeDirectory("/var/lib/a", 0o755, number, number),)  # type: ignore[arg-type]


def test_directories(make: Make) -> None:
    unit = unit_of(
        make, "User=web\nRuntimeDirectory=foo/bar baz:link\nRuntimeDirectoryMode=2750\nStateDirectory=aaa/bbb ccc\n"
        "LogsDirectory=../x\nConfigurationDirectory=conf\nCacheDirectory=%p\nCacheDirectoryMode=999"
    )
    assert [(made.path, made.mode, made.uid, made.gid) for made in unit.directories] == [
        ("/run/foo/bar", 0o2750, 33, 34), ("/run/baz", 0o2750, 33, 34), ("/var/lib/aaa/bbb", 0o755, 33, 34),
        ("/var/lib/ccc", 0o755, 33, 34), ("/var/cache/a", 0o755, 33, 34), ("/etc/conf", 0o755, 0, 0),
    ]
    environment = dict(unit.environment)
    assert environment["RUNTIME_DIRECTORY"] == "/run/foo/bar:/run/baz"
    assert environment["STATE_DIRECTORY"] == "/var/lib/aaa/bbb:/var/lib/ccc" and "LOGS_DIRECTORY" not in environment
    assert len(unit.warnings) == 3


def test_environment(make: Make) -> None:
    host = make(**{
        f"{LIB}/a.service": "[Service]\nExecStart=/bin/a $OPTS ${HOME} $LANG\nUser=ann\nEnvironment=OPTS=no A=%n 1=x B=1\n"
        "EnvironmentFile=-/etc/default/none\nEnvironmentFile=/etc/default/a*\nPassEnvironment=P Q\nUnsetEnvironment=B A=1\n",
        "etc/default/a": "OPTS='-x -y'\nexport C=1\n", "etc/default/ab": "D=4\n", "etc/default/locale": "LANG=C.UTF-8\nFOO=1\n",
    })
    unit = read_unit(host, "a", passed={"P": "p", "R": "r"})
    environment = dict(unit.environment)
    assert unit.start[0].argv == ("/bin/a", "-x", "-y", "/home/ann", "C.UTF-8")
    assert len(environment.pop("INVOCATION_ID")) == 32
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "USER": "ann",
        "LOGNAME": "ann", "HOME": "/home/ann", "SHELL": "/bin/sh", "P": "p", "OPTS": "-x -y", "A": "a.service", "D": "4",
    }
    assert [line.partition(": ")[2] for line in unit.warnings] == [
        "Environment=1: not the name and value of a variable", "/etc/default/a: export C: not the name of a variable"]


def test_without_a_user_there_is_no_home(make: Make) -> None:
    assert not {"HOME", "USER", "SHELL"} & dict(unit_of(make, "").environment).keys()
    assert "SHELL" not in dict(unit_of(make, "User=web").environment)


@pytest.mark.parametrize(
    ("settings", "directory"),
    [("", "/"), ("WorkingDirectory=/etc/", "/etc"), ("WorkingDirectory=-/none", "/"), ("WorkingDirectory=/none", "/none"),
     ("WorkingDirectory=~", "/root"), ("User=ann\nWorkingDirectory=~", "/home/ann"),
     ("StateDirectory=x\nWorkingDirectory=-%S/x", "/var/lib/x"), ("WorkingDirectory=-/etc", "/etc")],
)
def test_working_directories(make: Make, settings: str, directory: str) -> None:
    assert unit_of(make, settings).directory == directory


@pytest.mark.parametrize(
    ("settings", "kind", "ready", "reload"),
    [("", "simple", "", ""), ("Type=notify", "notify", "notify", ""), ("Type=notify-reload", "notify-reload", "notify", "HUP"),
     ("Type=notify-reload\nReloadSignal=SIGUSR1", "notify-reload", "notify", "USR1"), ("BusName=a.b", "dbus", "", ""),
     ("Type=forking", "forking", "", ""), ("Type=nonsense", "simple", "", "")],
)
def test_types(make: Make, settings: str, kind: str, ready: str, reload: str) -> None:
    unit = unit_of(make, settings)
    options = trial_options(unit)
    assert (unit.type, options.ready, options.reload, options.again) == (kind, ready, reload, True)


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("/bin/kill -HUP $MAINPID", "HUP"), ("kill -s HUP $MAINPID", "HUP"), ("/usr/bin/kill -1 $MAINPID", "HUP"),
        ("kill -SIGUSR2 $MAINPID", "USR2"), ("kill --signal=USR1 -- $MAINPID", "USR1"), ("kill -sUSR1 $MAINPID", "USR1"),
        ("kill --signal HUP $MAINPID", "HUP"), ("kill $MAINPID", "TERM"), ("kill -hup ${MAINPID}", "HUP"),
        ("sh -c 'kill -HUP $MAINPID'", "HUP"), ("/bin/sh -c '/bin/kill -s HUP ${MAINPID}'", "HUP"),
        ("kill -0 $MAINPID", ""), ("kill -HUP $MAINPID 1", ""), ("kill -HUP", ""), ("kill -HUP -$MAINPID", ""),
        ("killall -HUP x", ""), ("sh -c 'kill -HUP $MAINPID; true'", ""), ("kill -XYZ $MAINPID", ""), ("kill -l", ""),
        ("sh -c ''", ""), ("kill -RTMIN+1 $MAINPID", ""),
    ],
)
def test_plain_kills(words: str, sent: str) -> None:
    assert signal_sent(tuple(split(words))) == sent


def test_reload_and_stop(make: Make) -> None:
    unit = unit_of(make, "ExecReload=/bin/a -t\nExecReload=/bin/kill -USR2 $MAINPID\nExecStop=-kill -s QUIT $MAINPID")
    options = trial_options(unit)
    assert (options.reload, options.service.reload, options.stop, options.service.stop) == (
        "USR2", (Step(("/bin/a", "-t")),), "QUIT", ())
    unit = unit_of(make, "ExecReload=kill -HUP $MAINPID ; tool -w $MAINPID\nExecStop=-/bin/a stop\nKillSignal=2")
    options = trial_options(unit)
    assert options.reload == "" and options.service.reload == (
        Step(("kill", "-HUP", "$MAINPID")), Step(("/usr/bin/tool", "-w", "$MAINPID")))
    assert (options.stop, options.service.stop) == ("INT", (Step(("/bin/a", "stop"), may_fail=True),))
    given = trial_options(unit, ("reload", "stop"))
    assert given.service.reload == given.service.stop == ()


def test_oneshot_and_steps(make: Make) -> None:
    unit = unit_of(make, "Type=oneshot\nExecStart=tool one ; +/bin/two\nExecStart=/bin/three\nExecStartPre=-/bin/zero\n"
                         "ExecCondition=/bin/if\nExecStartPost=!/bin/four\nUser=web")
    options = trial_options(unit)
    assert options.argv == ("/bin/three",) and options.user == "web"
    assert options.service.before == (
        Step(("/bin/if",)), Step(("/bin/zero",), may_fail=True), Step(("/usr/bin/tool", "one")),
        Step(("/bin/two",), as_root=True),
    )
    assert options.service.after == (Step(("/bin/four",), as_root=True),)
    with raises("2 ExecStart="):
        unit_of(make, "ExecStart=/a\nExecStart=/b")
    with raises("no ExecStart="):
        read_unit(make(**{f"{LIB}/b.service": "[Service]\nType=oneshot\n"}), "b")


def test_a_target_as_root(make: Make) -> None:
    unit = unit_of(make, "ExecStart=!/bin/a\nUser=web\nRuntimeDirectory=a\nExecStartPre=/bin/b")
    options = trial_options(unit)
    assert options.user == "" and options.service.directories[0].uid == 33
    assert any("/bin/b" in line for line in warnings(unit))
    assert unit_of(make, "PermissionsStartOnly=yes\nExecStartPre=/bin/b\nUser=web").before == (Step(("/bin/b",), as_root=True),)


SOCKET = (
    "[Socket]\nListenStream=8080\nListenStream=[::1]:81\nListenDatagram=127.0.0.1:53\nListenStream=%t/a.sock\n"
    "ListenStream=@a\n"
)


@pytest.mark.parametrize(
    ("service", "socket", "taken"),
    [
        ("", "", False), ("[Unit]\nRequires=a.socket", "", True), ("[Install]\nAlso=a.socket", "", True),
        ("Sockets=a.socket", "Service=x.service", True), ("[Unit]\nRequires=a.socket", "Accept=yes", False),
        ("[Unit]\nRequires=a.socket", "Service=x.service", False), ("[Unit]\nWants=a.socket", "", False),
        ("[Unit]\nBindsTo=a.socket other.mount", "Service=%N.service", True),
    ],
)
def test_sockets(make: Make, service: str, socket: str, taken: bool) -> None:
    unit = unit_of(make, service, **{f"{LIB}/a.socket": SOCKET + socket})
    wanted = ("tcp:8080", "tcp:[::1]:81", "udp:127.0.0.1:53", "unix:/run/a.sock") if taken else ()
    assert unit.sockets == wanted and len(unit.warnings) == taken


@pytest.mark.parametrize(("mode", "wanted"), [("", 0o755), ("DirectoryMode=0711\n", 0o711), ("DirectoryMode=rwx\n", 0o755)])
def test_the_directories_above_a_socket(make: Make, mode: str, wanted: int) -> None:
    """The manager makes those that are not there; one that the service is given has the owner that it says, and comes last."""
    socket = f"[Socket]\n{mode}ListenStream=/etc/deep/er/a.sock\nListenStream=%t/b/b.sock\nListenStream=81\n"
    service = "[Service]\nUser=web\nRuntimeDirectory=b\nRuntimeDirectoryMode=0700\n[Unit]\nRequires=a.socket\n"
    unit = unit_of(make, service, **{f"{LIB}/a.socket": socket})
    assert [(made.path, made.mode, made.uid) for made in unit.directories] == [
        ("/etc/deep", wanted, 0), ("/etc/deep/er", wanted, 0), ("/run", wanted, 0), ("/run/b", wanted, 0), ("/run/b", 0o700, 33),
    ]


def test_what_is_not_done_is_said(make: Make) -> None:
    unit = unit_of(make, "ExecStart=@/bin/a b\nUMask=007\nStandardInput=null\nPAMName=x\nExecStopPost=/bin/c\nProtectSystem=yes\n"
                         "Environment=\"A=1\nnonsense\nRestart=always\nPIDFile=a.pid\n[Unit]\nConditionPathExists=/x")
    text = "\n".join(unit.warnings)
    assert all(word in text for word in ("b", "PAMName", "ExecStopPost", "unbalanced", "nonsense"))
    assert "StandardInput" not in text and unit.ignored == ("ConditionPathExists", "ProtectSystem")
    assert unit.pid_file == "/run/a.pid" and unit.umask == 0o007
    with raises("root of its own"):
        unit_of(make, "RootDirectory=/srv/jail")


def test_what_was_taken_is_described_without_values(make: Make) -> None:
    unit = unit_of(make, "Environment=SECRET=hunter2\nExecStartPre=/bin/b\nRuntimeDirectory=a\nPIDFile=/run/a.pid\nNice=1")
    text = "\n".join(describe(unit, trial_options(unit)))
    assert "SECRET" in text and "hunter2" not in text and "/run/a" in text and "Nice" in text


def test_a_template_of_the_same_name_is_pointed_out(make: Make) -> None:
    unit = unit_of(make, "Type=oneshot\nExecStart=/bin/true", **{f"{LIB}/a@.service": "x"})
    assert "a@.service" in unit.warnings[0]


def _installed() -> list[str]:
    place = Path("/lib/systemd/system")
    return sorted(path.name for path in place.glob("*.service")) if place.is_dir() else []


def test_all_units_of_this_machine() -> None:
    host = open_host_root("/")
    for name in _installed():
        try:
            unit = read_unit(host, name.replace("@.", "@root."))
        except UsageError as error:
            assert error.hint and any(word in error.message for word in ("masked", "ExecStart", "not known", "root of its own"))
        else:
            assert trial_options(unit).argv and not any("passed over" in line for line in unit.warnings), unit.warnings


# --- on the command line ----------------------------------------------------------------------------------------------


def _learned(monkeypatch: pytest.MonkeyPatch, *words: str) -> TrialOptions:
    import tracejail.learn

    seen: list[TrialOptions] = []

    class Seen(Exception):
        pass

    def learn(options: TrialOptions, _: object) -> LearnResult:
        seen.append(options)
        raise Seen

    monkeypatch.setattr(tracejail.learn, "learn", learn)
    with pytest.raises(Seen):
        dispatch(["learn", *words])
    return seen[0]


def test_the_command_line_wins(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(**{f"{LIB}/a.service": "[Service]\nExecStart=/bin/a\nUser=web\nExecReload=/bin/b\nEnvironment=A=1\nStateDirectory=s"})
    root = ["--from", str(tmp_path), "--unit", "a"]
    options = _learned(monkeypatch, *root)
    assert (options.argv, options.jail, options.user, options.service.unit) == (("/bin/a",), "a.jail", "web", "a.service")
    options = _learned(monkeypatch, *root, "-u", "ann", "-j", "J", "--reload", "HUP", "-E", "A=2", "--ready", "tcp:1")
    assert (options.jail, options.user, options.reload, options.service.reload) == ("J", "ann", "HUP", ())
    assert dict(options.environment)["A"] == "2" and options.ready == "tcp:1"
    assert dict(options.environment)["HOME"] == "/home/ann" and options.service.directories[0].uid == 1000
    with raises("--unit names the program"):
        dispatch(["learn", "--unit", "a", "/bin/b"])


def test_verify_reads_the_environment_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nouns import entry, manifest

    import tracejail.verify
    from tracejail.manifest import write_manifest
    from tracejail.model import Command, HostIdentity, Service

    make(**{f"{LIB}/a.service": "[Service]\nExecStart=/bin/a\nEnvironment=A=new\n"})
    one = manifest(
        entry("/a"), command=Command(("/bin/a",), environment=("A", "B"), service=Service(unit="a.service"), again=True),
        host=HostIdentity(str(tmp_path), "", "", ""),
    )
    path = tmp_path / "m.json"
    write_manifest(one, str(path))
    seen: list[TrialOptions] = []

    def verify(read: Manifest, options: TrialOptions, _: object) -> LearnResult:
        seen.append(options)
        return LearnResult(True, 0, 1, 0.0, read, str(path))

    monkeypatch.setattr(tracejail.verify, "verify", verify)
    monkeypatch.setenv("B", "of the caller, which a service does not get")
    dispatch(["verify", str(path)])
    assert dict(seen[0].environment)["A"] == "new" and seen[0].service.unit == "a.service" and seen[0].again
    assert "learned with B" in capsys.readouterr().err
    os.unlink(tmp_path / f"{LIB}/a.service")
    dispatch(["verify", str(path)])
    assert "no such unit" in capsys.readouterr().err
