"""The command line: where options stop, what a usage error looks like, what a terminal may see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nouns import entry, manifest

from tracejail.cli.commands import SUBCOMMANDS, dispatch
from tracejail.cli.escape import escape, escape_text
from tracejail.cli.manifests import labels_of
from tracejail.cli.options import parse
from tracejail.cli.report import human, start_command
from tracejail.errors import UsageError
from tracejail.manifest import write_manifest
from tracejail.model import Command, LearnResult, Manifest, Mount, TrialOptions
from tracejail.show import Show

LEARN = SUBCOMMANDS["learn"].options
ROOT = Path(__file__).resolve().parents[2]
UMASK = os.umask(0o022)
os.umask(UMASK)


def run(*words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TRACEJAIL_DEBUG", None)
    return subprocess.run([sys.executable, "-m", "tracejail", *words], capture_output=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["-j", "J", "prog", "-j", "K", "--", "--json"], ["prog", "-j", "K", "--", "--json"]),
        (["-j", "J", "--", "prog", "--", "-x"], ["prog", "--", "-x"]),
        (["-jJ", "prog"], ["prog"]),
        (["--jail=J", "--", "-odd"], ["-odd"]),
        (["--jail", "J", "prog", "--help", "--version"], ["prog", "--help", "--version"]),
    ],
)
def test_options_stop_at_the_program(words: list[str], program: list[str]) -> None:
    assert parse(words, LEARN, "learn") == ({"jail": "J"}, program)


def test_values() -> None:
    fields, _ = parse(["--exercise", "a", "--exercise=b --c", "--timeout", "2.5", "-q", "p"], LEARN, "learn")
    assert fields == {"exercises": ("a", "b --c"), "timeout": 2.5, "quiet": True}


@pytest.mark.parametrize(
    "words",
    [["--nonsense", "p"], ["-Z", "p"], ["--jail"], ["--timeout", "soon", "p"], ["--timeout", "-1", "p"],
     ["--timeout", "nan", "p"], ["--net", "moon", "p"], ["--replace=yes", "p"], ["-qv", "p"]],
)
def test_wrong_options(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words, LEARN, "learn")
    assert caught.value.hint


@pytest.mark.parametrize(
    "words",
    [["frobnicate"], ["--frob"], ["learn"], ["learn", "--frob"], ["why", "m"], ["diff", "a", "b", "c"], ["export", "cpio", "m"],
     ["build", "/nonexistent/m.json"]],
)
def test_usage_errors_are_two_lines_and_status_two(words: list[str]) -> None:
    done = run(*words)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2 and done.stdout == b""
    assert len(lines) == 2 and lines[0].startswith("tracejail: ") and lines[1].startswith("  ")


def test_version_loads_next_to_nothing() -> None:
    code = "import sys; sys.argv[1:]=['--version']; from tracejail.cli.main import main; main(); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout.startswith(b"tracejail ")
    assert not {"argparse", "json", "tabulate", "dataclasses", "ctypes"} & set(done.stdout.decode().split())


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], {"dataclasses", "typing", "json", "tracejail.model"}),
        (["learn", "--help"], {"dataclasses", "typing", "json", "tracejail.model"}),
        (["list", "M"], {"elftools", "ptrace", "tabulate", "ctypes", "hashlib", "tracejail.learn", "tracejail.kernel"}),
        (["why", "M", "/a"], {"elftools", "ptrace", "tabulate", "ctypes", "hashlib", "tracejail.learn", "tracejail.kernel"}),
        (["deps", "/bin/sh"], {"ptrace", "tabulate", "socket", "json", "tracejail.learn", "tracejail.manifest"}),
    ],
)
def test_a_command_loads_what_it_needs(words: list[str], unwanted: set[str], tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a")), str(path))
    given = [str(path) if word == "M" else word for word in words]
    code = f"import sys; sys.argv[1:] = {given!r}; from tracejail.cli.main import main; main()"
    code += "; print(*sys.modules, file=sys.stderr)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout and not unwanted & set(done.stderr.decode().split())


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(*(entry(f"/{number:06}") for number in range(20000))), str(path))
    command = f"{sys.executable} -m tracejail list {path} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert (done.stdout, done.stderr) == (b"/000000\n", b"")


def test_merge_to_a_file_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a")), str(path))
    done = run("merge", str(path), str(path), "-o", str(tmp_path / "no" / "where"))
    assert done.returncode == 5 and b"no/where" in done.stderr and b"Traceback" not in done.stderr


def test_merge_to_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a"), entry("/日本")), str(path))
    done = run("merge", str(path), str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, path.read_bytes(), b"")


def hosts(place: Path, *names: str, **fields: Any) -> list[str]:
    """Manifests that differ in one owner."""
    files = []
    for number, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        write_manifest(manifest(entry("/a"), entry("/b", uid=number), **fields), str(place / name))
        files.append(str(place / name))
    return files


@pytest.mark.parametrize(
    ("names", "labels"),
    [(("A.json", "B.json"), ["A", "B"]), (("w1/x.jail.json", "w2/x.jail.json"), ["w1/x.jail", "w2/x.jail"]),
     (("a/w/x.json", "b/w/x.json", "y.json"), ["a/w/x", "b/w/x", "y"]),
     (("a/w/x", "a/v/x", "b/w/x"), ["a/w/x", "a/v/x", "b/w/x"]),
     (("/x.json", "/y/x.json"), ["/x", "y/x"]), (("x.json", "x.json", "w/x.txt"), ["t/x", "t/x", "w/x"]),
     (("x.json", "x.txt"), ["x", "x"])],
)
def test_labels_of_files(names: tuple[str, ...], labels: list[str]) -> None:
    assert labels_of([os.path.join("/t", name) for name in names]) == labels


def test_merge_of_hosts_and_the_part_of_one(tmp_path: Path) -> None:
    files = hosts(tmp_path, "w1/x.json", "w2/x.json")
    done = run("merge", *files, "-o", str(tmp_path / "all.json"))
    assert (done.returncode, done.stderr) == (0, b"kept apart by host: w1/x, w2/x\n")
    assert run("merge", *files).stdout == (tmp_path / "all.json").read_bytes()
    merged = str(tmp_path / "all.json")
    assert run("list", merged, "--host", "w2/x").stdout == b"/a\n/b\n"
    assert run("diff", merged, files[0]).stdout == b"" == run("diff", files[1], merged, "--host", "w2/x").stdout
    assert b"/b" in run("diff", merged, files[1]).stdout and run("diff", merged, merged).returncode == 0


def test_a_host_that_is_not_in_it(tmp_path: Path) -> None:
    first, second = hosts(tmp_path, "A.json", "B.json")
    merged = str(tmp_path / "all.json")
    run("merge", first, second, "-o", merged)
    for words in (["build", merged], ["verify", merged], ["list", merged], ["export", "list", merged], ["why", merged, "/a"],
                  ["diff", merged, first], ["diff", first, merged], ["list", first]):
        done = run(*words, "--host", "C")
        lines = done.stderr.decode().splitlines()
        assert done.returncode == 2 and len(lines) == 2, words
        assert ("A, B" in lines[1]) == (merged in words) and lines[0].startswith(f"tracejail: {tmp_path}")


def test_merge_as_one_machine(tmp_path: Path) -> None:
    first, second = hosts(tmp_path, "A.json", "B.json")
    third = str(tmp_path / "C.json")
    write_manifest(manifest(entry("/a", sha256="c" * 64)), third)
    assert b"hosts" not in run("merge", "--same-host", first, second).stdout
    run("merge", first, second, "-o", str(tmp_path / "all.json"))
    for words in (["--same-host", first, second, third], ["--same-host", "--apart", first, second], [first],
                  ["--same-host", str(tmp_path / "all.json"), first]):
        done = run("merge", *words)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 2 and not done.stdout, words
    assert b"hosts" in run("merge", "--apart", first, first, second).stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ä 日本", "plain ä 日本"), ("\x1b[31m", "\\x1b[31m"), ("a\nb\r\t", "a\\x0ab\\x0d\\x09"), ("\udcff", "\\xff"),
     ("\u202egpj", "\\u202egpj"), ("\u2028", "\\u2028"), ("\x9b1m", "\\x9b1m"), ("\x7f", "\\x7f"),
     ("\U000e0001", "\\U000e0001")],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_output_of_a_program_keeps_its_lines() -> None:
    assert escape_text(b"a\tb\nc\x1b]0;x\x07\xff\n") == "a\tb\nc\\x1b]0;x\\x07\\xff\n"


def test_the_command_that_starts_it() -> None:
    command = Command(("/bin/a b", "$x"), user="www-data", uid=33, gid=33, groups=(33,))
    one = manifest(command=command, mounts=(Mount("proc", "/proc"),))  # type: ignore[arg-type]
    assert start_command(one) == [
        "mount -t proc proc /srv/httpd.jail/proc",
        "chroot --userspec=33:33 --groups=33 /srv/httpd.jail '/bin/a b' '$x'",
    ]
    assert human(999) == "999 bytes" and human(20_000_000) == "20.0 MB"


def test_a_list_is_escaped_on_a_terminal_and_raw_in_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a\x1b[31m")), str(path))
    assert run("list", str(path)).stdout == b"/a\x1b[31m\n"
    controller, terminal = os.openpty()
    try:
        words = [sys.executable, "-m", "tracejail", "list", str(path)]
        subprocess.run(words, stdout=terminal, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
        assert os.read(controller, 100) == b"/a\\x1b[31m\r\n"
    finally:
        os.close(controller)
        os.close(terminal)


def test_verify_joins_its_options_and_tells_names_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tracejail.verify

    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a"), command=Command(("/a",), environment=("TZ_OF_TEST",))), str(path))
    seen = []

    def verify(one: Manifest, options: TrialOptions, show: Show) -> LearnResult:
        seen.append(options)
        return LearnResult(True, 0, 1, 0.0, one, str(path))

    monkeypatch.setattr(tracejail.verify, "verify", verify)
    dispatch(["verify", "-E", "NOT_TZ_OF_TEST=1", "--exercise", "a", str(path), "--exercise", "b"])
    assert seen[0].exercises == ("a", "b") and seen[0].environment == (("NOT_TZ_OF_TEST", "1"),)
    assert "TZ_OF_TEST" in capsys.readouterr().err


def test_a_name_that_the_locale_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/日本")), str(path))
    words = [sys.executable, "-m", "tracejail", "why", str(path), "/日本"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert done.returncode == 0 and done.stdout.startswith(b"/\\u65e5\\u672c: ")


def test_export_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a")), str(path))
    for words, status, what in (
        (["export", "ocii", "m"], 2, "did you mean oci"), (["export", "seccomp", str(path)], 1, "learn it with --syscalls"),
        (["export", "list", str(path), "-o", "/dev/full"], 5, "/dev/full: No space left"),
        (["export", "list", str(path), "-o", str(tmp_path / "none" / "x")], 5, "none/x: No such file"),
    ):
        done = run(*words)
        lines = done.stderr.decode().splitlines()
        assert done.returncode == status and done.stdout == b"" and len(lines) == 2 and what in "".join(lines), lines
    assert [each.name for each in tmp_path.iterdir()] == ["m.json"]
    with path.open("rb") as stream:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "tracejail", "export", "list", "-"]
        assert subprocess.run(words, stdin=stream, capture_output=True, env=environment, check=True).stdout == b"/a\n"


def test_who_may_read_what_is_exported(tmp_path: Path) -> None:
    """What holds a file that others may not read is nobody else's to read; what was there stays whose it was, and a link one."""
    path, made, held, link = (tmp_path / name for name in ("m.json", "made", "held", "link"))
    write_manifest(manifest(entry("/a", mode=0o600, size=0, sha256=""), jail=str(tmp_path / "none")), str(path))
    held.touch(0o640)
    link.symlink_to("held")
    for form, output, mode in (("tar", made, 0o600), ("list", tmp_path / "list", 0o644), ("list", link, 0o640)):
        words = ["export", form, str(path), "-o", str(output)]
        if form == "tar":
            (tmp_path / "a").touch()
            words += ["--from", str(tmp_path)]
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert output.stat().st_mode & 0o777 == mode & ~UMASK
    assert link.is_symlink() and held.read_text() == "/a\n"


def test_a_closed_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(manifest(entry("/a")), str(path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    buffered = {name: value for name, value in environment.items() if name != "PYTHONUNBUFFERED"}
    calls = ((environment, f"list {path}"), (buffered, f"list {path}"), (buffered, "--help"), (buffered, "--version"))
    for redirect, what in ((">&-", "closed"), (">/dev/full", "No space left")):
        for env, words in calls:
            script = f"{sys.executable} -m tracejail {words} {redirect}"
            done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, env=env, check=False)
            lines = done.stderr.decode().splitlines()
            assert done.returncode == 5 and len(lines) == 2 and "standard output" in lines[0] and what in lines[0], lines
