"""What audit says, to whom, and with which status; and what it takes away."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.audit.jails import MOUNTED, audit, causes, copied, directory, fresh, in_namespace, place, text, with_manifest, write
from tests.doctor.jails import digest
from tests.tool import COMMAND, mounts, tracejail, two_lines
from tracejail.audit.rules import ABOUT

_SHELL = copied("/bin/dash", "/bin/sh")


def test_the_threshold() -> None:
    with place() as top:
        _SHELL(fresh(top))
        assert audit(top, "--json").json["score"] == 10
        assert audit(top, "-q").status == 1
        assert audit(top, "-q", "--threshold", "9").status == 1
        allowed = audit(top, "--threshold", "10")
        assert allowed.status == 0
        assert "within the threshold of 10" in allowed.out
        assert audit(top, "-q").out == ""


def test_a_screen_for_a_reader() -> None:
    with place() as top:
        _SHELL(fresh(top))
        told = audit(top).out
        assert told.startswith("score 10: 1 high in /mnt/jail")
        assert "1. HIGH: /bin/sh is a shell (dash, called sh)   [shell]" in told
        assert "   remedy:  rm -rf --one-file-system -- /mnt/jail/bin/sh" in told


def test_the_score_has_caps() -> None:
    with place() as top:
        jail = fresh(top)
        for number in range(15):
            _SHELL(jail)
            os.rename(jail / "bin/sh", jail / f"bin/s{number}")
        said = audit(top, "--json").json
        assert len(said["findings"]) >= 15
        assert said["score"] == 100


def test_a_rule_can_be_left_out() -> None:
    with place() as top:
        jail = fresh(top)
        _SHELL(jail)
        copied("/bin/dash", "/srv/own")(jail)
        assert audit(top, "--json", "--ignore", "shell").json["findings"] != []   # the notes
        assert causes(audit(top, "--json", "--ignore", "shell").json) == set()
        assert causes(audit(top, "--json", "--ignore", "shell:/srv/*").json) == {("shell", "/bin/sh")}
        wrong = audit(top, "--ignore", "shells")
        assert wrong.status == 2
        two_lines(wrong)


def test_sarif() -> None:
    with place() as top:
        jail = fresh(top)
        _SHELL(jail)
        write(jail, os.fsdecode(b"/srv/a b\xff"), Path("/bin/dash").read_bytes(), 0o755)
        jail.parent.chmod(0o777)
        document = json.loads(audit(top, "--sarif").out)
        assert document["version"] == "2.1.0"
        assert document["$schema"].endswith("sarif-2.1.0.json")
        (run,) = document["runs"]
        driver = run["tool"]["driver"]
        assert driver["name"] == "tracejail"
        identifiers = [rule["id"] for rule in driver["rules"]]
        assert len(set(identifiers)) == len(identifiers)
        assert run["results"]
        for result in run["results"]:
            assert identifiers[result["ruleIndex"]] == result["ruleId"]
            assert result["level"] in ("none", "note", "warning", "error")
            assert (result["kind"] == "fail") == (result["level"] != "none")
            assert result["message"]["text"]
            (location,) = result["locations"]
            assert location["physicalLocation"]["artifactLocation"]["uri"]
        places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in run["results"]]
        assert {"uri": "bin/sh", "uriBaseId": "JAIL"} in places
        assert {"uri": "srv/a%20b%FF", "uriBaseId": "JAIL"} in places
        assert {"uri": "file:///mnt"} in places
        assert run["originalUriBaseIds"]["JAIL"]["uri"] == "file:///mnt/jail/"


def test_each_rule_is_told_in_a_line() -> None:
    from tests.audit.planted import PLANTS
    from tracejail.audit.table import Family

    assert {plant.rule for plant in PLANTS} | {family.value for family in Family} <= set(ABOUT)


@pytest.mark.parametrize("words", (
    [], ["/nonexistent"], ["/"], ["a", "b"], ["--json", "--sarif", "/tmp"], ["-n", "/tmp"], ["--threshold", "x", "/tmp"],
    ["--release", "bookworm", "/tmp"], ["-u", "no-such-user", "/tmp"], ["-E", "A=b", "/tmp"], ["/etc/passwd"],
    ["--ignore", "shell:", "/tmp"], ["--threshold", "0.9", "/tmp"], ["--threshold", "nan", "/tmp"],
    ["--threshold", "inf", "/tmp"],
    ["/dev/zero"], ["-m", "/dev/zero", "/usr/share/doc"],
    ["--advisories", "/dev/zero", "--release", "x", "/usr/share/doc"],
))
def test_wrong_words(words: list[str]) -> None:
    done = tracejail("audit", *words)
    assert done.status == 2
    two_lines(done)


def test_a_manifest_names_its_jail() -> None:
    with place() as top:
        jail = fresh(top)
        with_manifest(jail, ())
        moved = "sed -i s,/tmp/tracejail-audit.*/jail,/mnt/jail, /mnt/jail.json;"
        done = audit(top, "--json", target="/mnt/jail.json", shell=moved)
        assert done.json["jail"] == MOUNTED
        assert done.json["manifest"] == "/mnt/jail.json"
        assert causes(done.json) == set()


def test_what_a_run_needed_is_told_so() -> None:
    with place() as top:
        jail = fresh(top)
        _SHELL(jail)
        with_manifest(jail, ())
        (finding,) = [each for each in audit(top, "--json").json["findings"] if each["rule"] == "shell"]
        assert any("the manifest has /bin/sh" in line for line in finding["evidence"])
        assert finding["remedy"][0].startswith("# a run needed it")


def test_a_mount_takes_the_edge_off() -> None:
    with place() as top:
        jail = fresh(top)
        write(jail, "/bin/server", Path(jail / "bin/daemon").read_bytes(), 0o4755)
        for flags, severity in (("bind", "high"), ("bind,nosuid", "low")):
            remount = f"mount -o remount,{flags} /mnt;"
            (finding,) = [each for each in audit(top, "--json", shell=remount).json["findings"] if each["rule"] == "setuid"]
            assert finding["severity"] == severity
        directory("/srv/up", 0o777)(jail)
        assert ("world-writable-directory", "/srv/up") in causes(audit(top, "--json").json)
        assert ("world-writable-directory", "/srv/up") not in causes(
            audit(top, "--json", shell="mount -o remount,bind,ro /mnt;").json
        )


def test_a_file_system_of_its_own_is_not_the_hosts() -> None:
    with place() as top:
        directory("/data", 0o755)(fresh(top))
        assert causes(audit(top, "--json", shell="mount -t tmpfs -o mode=755 tmpfs {J}/data;").json) == set()


def test_written_places_that_can_not_be_executed() -> None:
    with place() as top:
        jail = fresh(top)
        with_manifest(jail, ("/var/lib/app",))
        noexec = "mount --bind {J}/var/lib/app {J}/var/lib/app; mount -o remount,bind,noexec,nosuid,nodev {J}/var/lib/app;"
        found = causes(audit(top, "--json", shell=noexec).json)
        assert ("written-executable", "/var/lib/app") not in found


_LISTENER = """
import os, socket, sys, time
os.chdir(sys.argv[1])
if sys.argv[2] == "inside":
    os.chroot(".")
made = socket.socket(socket.AF_UNIX)
made.bind("run/own.sock")
made.listen()
print("listens", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("where", ("inside", "outside"))
def test_a_socket_on_which_somebody_listens(where: str) -> None:
    with place() as top:
        jail = fresh(top)
        (jail / "run").mkdir()
        listener = subprocess.Popen([sys.executable, "-c", _LISTENER, jail, where], stdout=subprocess.PIPE)
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"listens\n"
            found = [each for each in audit(top, "--json").json["findings"] if each["rule"] == "socket"]
            assert [each["path"] for each in found] == (["/run/own.sock"] if where == "outside" else [])
            assert where == "inside" or any(f"process {listener.pid} " in line for line in found[0]["evidence"])
        finally:
            listener.kill()
            listener.wait()
            assert listener.stdout is not None
            listener.stdout.close()


def test_the_log_is_harmless() -> None:
    with place() as top:
        jail = fresh(top)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(str(jail / "dev/log"))
            assert causes(audit(top, "--json").json) == set()


def test_hostile_jails() -> None:
    with place() as top:
        jail = fresh(top)
        os.mkfifo(jail / "etc/passwd")
        os.mkfifo(jail / "bin/sh")
        with open(jail / "srv/huge", "wb") as stream:
            stream.write(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0")
            stream.truncate(1 << 40)
        with open(jail / "srv/large", "wb") as stream:
            stream.truncate(1 << 40)
        for name in ("a\x1b[31mred", "b\nFAKE: line", "c\r\x1b]0;title\x07", "d‮txt", "e\x9b2J"):
            write(jail, f"/srv/{name}", Path("/bin/dash").read_bytes(), 0o755)
        write(jail, "/srv/broken", b"\x7fELF" + b"\xff" * 60, 0o755)
        write(jail, "/srv/short", b"\x7fELF", 0o755)
        write(jail, "/srv/table", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0" + b"\xff" * 200, 0o755)
        (jail / "srv/loop").symlink_to("loop")
        (jail / "srv/ring").symlink_to("../srv/ring/x")
        (jail / "srv/root").symlink_to("/")
        began = time.monotonic()
        done = audit(top, "-v")
        assert time.monotonic() - began < 30
        assert done.status == 1
        assert "Traceback" not in done.err
        assert not [each for each in done.out if each != "\n" and not each.isprintable()]
        assert not [line for line in done.out.splitlines() if line.startswith("FAKE")]
        # What is a hole needs no look: there is nothing in it.
        assert not [each for each in audit(top, "--json").json["findings"] if "too large" in each["message"]]


def test_many_files() -> None:
    with place() as top:
        jail = fresh(top)
        for number in range(200):
            (jail / f"srv/{number}").mkdir()
            for other in range(100):
                (jail / f"srv/{number}/{other}").write_bytes(b"data\n" * 20)
        began = time.monotonic()
        done = audit(top, "--json")
        assert done.json["objects"] > 20_000
        assert causes(done.json) == set()
        assert time.monotonic() - began < 20   # 3 s on a quiet machine


def test_it_changes_nothing() -> None:
    with place() as top:
        jail = fresh(top)
        _SHELL(jail)
        text("/etc/passwd", "root::0:0::/:/bin/sh\n")(jail)
        before, mounted = digest(jail), mounts()
        for words in ([], ["--json"], ["--sarif"], ["-v"]):
            audit(top, *words)
        assert digest(jail) == before
        assert mounts() == mounted


_TRACKER = {
    "zlib": {
        "CVE-2099-1": {"description": "a hole", "releases": {"bookworm": {"status": "open", "urgency": "high"}}},
        "CVE-2099-2": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "9:1", "urgency": "low"}}},
        "CVE-2099-3": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "1:1.2~", "urgency": "high"}}},
        "CVE-2099-4": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "high"}}},
        "CVE-2099-5": {"releases": {"trixie": {"status": "open", "urgency": "high"}}},
        "CVE-2099-6": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
    },
    "zlib1g": {"CVE-2099-7": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}},
}


def test_advisories() -> None:
    with place() as top:
        copied("/lib/x86_64-linux-gnu/libz.so.1", os.path.realpath("/lib/x86_64-linux-gnu/libz.so.1"), 0o644)(fresh(top))
        (top / "tracker.json").write_text(json.dumps(_TRACKER))
        said = audit(top, "--json", "--advisories", "/mnt/tracker.json", "--release", "bookworm").json
        found = {each["message"].split(":")[0]: each for each in said["findings"] if each["rule"] == "advisory"}
        assert {number: each["severity"] for number, each in found.items()} == {
            "CVE-2099-1": "high", "CVE-2099-2": "low", "CVE-2099-6": "info",
        }
        assert found["CVE-2099-1"]["path"].endswith("/libz.so.1.2.13")
        assert said["score"] == 11
        assert any(line.startswith("apt-get install --only-upgrade zlib1g") for line in found["CVE-2099-2"]["remedy"])
        (top / "tracker.json").write_text("{")
        wrong = audit(top, "--advisories", "/mnt/tracker.json", "--release", "bookworm")
        assert wrong.status == 2
        two_lines(wrong)


def _learned(top: Path) -> Path:
    jail = top / "jail"
    done = tracejail("learn", "-q", "-j", jail, "-m", top / "jail.json", "/bin/cat", "/etc/os-release", cwd=Path("/"))
    assert done.status == 0, done.err
    return jail


def test_advisories_of_the_manifests_packages() -> None:
    with place() as top:
        jail = _learned(top)
        rows = {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}
        (top / "tracker.json").write_text(json.dumps({"glibc": {"CVE-2099-1": rows}, "zlib": {"CVE-2099-2": rows}}))
        done = tracejail("audit", "--json", "--advisories", top / "tracker.json", "--release", "bookworm", jail)
        found = [each for each in done.json["findings"] if each["rule"] == "advisory"]
        assert {each["message"].split(":")[0] for each in found} == {"CVE-2099-1"}
        assert all("source package glibc" in each["evidence"][0] for each in found)


def test_what_no_run_needed_is_removed() -> None:
    with place() as top:
        jail = _learned(top)
        before = {path.relative_to(jail) for path in jail.rglob("*")}
        _SHELL(jail)
        write(jail, "/usr/share/more/a/b/c", "x")
        write(jail, "/usr/share/more/\x1b[2J", "x")
        (jail / "usr/share/out").symlink_to("/etc")
        planted = digest(jail)
        tried = tracejail("audit", "--remove", "-n", jail)
        assert "would be removed" in tried.out
        assert "\x1b" not in tried.out
        assert digest(jail) == planted
        done = tracejail("audit", "--remove", "--json", jail)
        assert done.json["removal"]["clean"]
        assert sorted(done.json["removal"]["paths"]) == ["/usr/bin/sh", "/usr/share/more", "/usr/share/out"]
        assert not any(each["rule"] in ("shell", "not-needed") for each in done.json["findings"])
        assert {path.relative_to(jail) for path in jail.rglob("*")} == before
        again = tracejail("audit", "--remove", jail)
        assert "nothing to remove" in again.out
        assert Path("/etc/os-release").exists()


def test_nothing_is_removed_where_the_program_needs_it() -> None:
    with place() as top:
        jail = _learned(top)
        write(jail, "/usr/share/more", "x")
        manifest = json.loads((top / "jail.json").read_text())
        real = os.path.realpath("/etc/os-release")
        manifest["entries"] = [entry for entry in manifest["entries"] if entry["path"] != real]
        (top / "jail.json").write_text(json.dumps(manifest))
        before = digest(jail)
        done = tracejail("audit", "--remove", jail)
        assert done.status == 1
        assert "NOTHING WAS REMOVED" in done.out
        assert digest(jail) == before


def test_what_is_written_is_not_removed() -> None:
    with place() as top:
        jail = top / "jail"
        words = ("/bin/dash", "-c", "mkdir -p /var/lib/dpkg; echo x >/var/lib/dpkg/own")
        done = tracejail("learn", "-q", "-j", jail, "-m", top / "jail.json", *words, cwd=Path("/"))
        assert done.status == 0, done.err
        write(jail, "/var/lib/dpkg/kept", "data\n")
        write(jail, "/usr/share/more", "x")
        done = tracejail("audit", "--remove", "--json", jail)
        assert done.json["removal"]["removed"], done.json["removal"]
        assert (jail / "var/lib/dpkg/kept").read_text() == "data\n"
        assert not (jail / "usr/share/more").exists()


def test_another_jails_manifest_removes_nothing() -> None:
    with place() as top:
        _learned(top)
        other = top / "other"
        write(fresh(top / "x"), "/srv/mine", "x")
        os.rename(top / "x/jail", other)
        before = digest(other)
        done = tracejail("audit", "--remove", "-m", top / "jail.json", other)
        assert done.status == 2
        two_lines(done)
        assert digest(other) == before


def test_without_a_manifest_nothing_is_removed() -> None:
    with place() as top:
        fresh(top)
        done = audit(top, "--remove")
        assert done.status == 2
        two_lines(done)


def test_what_can_not_be_read_is_told_so() -> None:
    with place() as top:
        jail = fresh(top)
        directory("/srv/closed", 0o700)(jail)
        write(jail, "/etc/closed", "secret", 0o600)
        words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *COMMAND, "audit", "--json", MOUNTED]
        done = in_namespace(top, "", words)
        assert {("not-looked-at", "/srv/closed"), ("not-looked-at", "/etc/closed")} <= causes(done.json)
