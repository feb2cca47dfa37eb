"""What `update` brings over, what it keeps, and the way back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.tool import two_lines, until

from .conftest import Ground
from .tree import COMMAND, ENVIRONMENT, LIB, digest, litter, says, tracejail


def update(ground: Ground, *words: str, status: int = 0) -> str:
    done = tracejail("update", *words, ground.manifest)
    assert done.status == status, done.out + done.err
    assert litter(ground.top) == []
    return done.out


def is_current(ground: Ground) -> bool:
    done = tracejail("status", "--full", ground.manifest)
    assert done.status in (0, 1), done.err
    return done.status == 0


def needs_more(ground: Ground) -> None:
    """A patched libgreet that needs a new library of a new package."""
    ground.host.library("libextra.so.2", "0", 'const char *extra(void) { return "more"; }')
    ground.host.greet("extra()", "0", f"{ground.host.top}/{LIB}/libextra.so.2.0", before="const char *extra(void);")
    ground.host.upgrade("libextra2", "2.0", f"/{LIB}/libextra.so.2", f"/{LIB}/libextra.so.2.0")
    ground.host.upgrade("libgreet1", "1.0-2")


def entries(ground: Ground) -> dict[str, dict[str, str]]:
    return {row["path"]: row for row in json.loads(ground.manifest.read_text())["entries"]}


def test_nothing_to_do(ground: Ground) -> None:
    before = digest(ground.jail), ground.manifest.read_bytes()
    assert "current" in update(ground)
    assert (digest(ground.jail), ground.manifest.read_bytes()) == before
    assert not (ground.top / ".hello.jail.upkeep").exists()


def test_a_patch(ground: Ground) -> None:
    ground.host.greet('"patched"')
    ground.host.upgrade("libgreet1", "1.0-2")
    assert "libgreet1 1.0-1 -> 1.0-2" in update(ground)
    assert (says(ground.jail), is_current(ground)) == ("patched world\n", True)
    found = entries(ground)[f"/{LIB}/libgreet.so.1.0"]
    library = ground.host.top / LIB / "libgreet.so.1.0"
    assert (found["version"], found["size"]) == ("1.0-2", library.stat().st_size)
    assert (ground.jail / LIB / "libgreet.so.1.0").stat().st_mtime_ns == library.stat().st_mtime_ns
    assert tracejail("build", ground.manifest, "-j", ground.top / "again").status == 0
    assert digest(ground.top / "again") == digest(ground.jail)


def test_another_version_of_the_same_bytes(ground: Ground) -> None:
    ground.host.upgrade("libgreet1", "1.0-2")
    before = digest(ground.jail)
    assert "manifest was brought over" in update(ground)
    assert digest(ground.jail) == before
    assert is_current(ground)
    assert entries(ground)[f"/{LIB}/libgreet.so.1.0"]["version"] == "1.0-2"


def test_a_new_name_of_a_library_and_the_old_one_gone(ground: Ground) -> None:
    (ground.host.top / LIB / "libgreet.so.1.0").unlink()
    ground.host.greet('"renamed"', "7")
    ground.host.packages["libgreet1"] = "1.0-2", [f"/{LIB}/libgreet.so.1", f"/{LIB}/libgreet.so.1.7"]
    ground.host.settle()
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("renamed world\n", True)
    assert sorted(path.name for path in (ground.jail / LIB).glob("libgreet*")) == ["libgreet.so.1", "libgreet.so.1.7"]


def test_new_needs_arrive_and_go_again(ground: Ground) -> None:
    needs_more(ground)
    update(ground, "--verify")
    assert (says(ground.jail), is_current(ground)) == ("more world\n", True)
    row = entries(ground)[f"/{LIB}/libextra.so.2.0"]
    assert (row["origin"], row["via"], row["package"], row["version"]) == (
        "elf-needed", f"/{LIB}/libgreet.so.1.0", "libextra2", "2.0",
    )
    reasons = tracejail("why", ground.manifest, f"/{LIB}/libextra.so.2.0").out
    assert f"a library that /{LIB}/libgreet.so.1.0 needs" in reasons
    ground.host.greet('"alone"')
    ground.host.upgrade("libgreet1", "1.0-3")
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("alone world\n", True)
    assert not list((ground.jail / LIB).glob("libextra*"))
    assert f"/{LIB}/libextra.so.2" not in entries(ground)


def test_a_new_library_in_a_new_directory(ground: Ground) -> None:
    (ground.host.top / "opt/lib").mkdir(parents=True)
    ground.host.compile(
        'const char *extra(void) { return "far"; }', "opt/lib/libfar.so", "-shared", "-fPIC", "-Wl,-soname,libfar.so",
    )
    ground.host.greet(
        "extra()", "0", f"{ground.host.top}/opt/lib/libfar.so", "-Wl,-rpath,/opt/lib", before="const char *extra(void);",
    )
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("far world\n", True)


def test_one_that_would_not_run_is_not_taken(ground: Ground) -> None:
    ground.host.compile("int main(void) { return 3; }", "usr/bin/hello")
    before = digest(ground.jail), ground.manifest.read_bytes()
    out = update(ground, "--verify", status=1)
    assert "nothing was changed" in out
    assert (digest(ground.jail), ground.manifest.read_bytes()) == before
    update(ground)
    assert is_current(ground)


def test_what_it_asks_for_at_run_time_shows_in_the_proof(ground: Ground) -> None:
    ground.host.write("etc/late.conf", "late\n")
    ground.host.compile(
        '#include <stdio.h>\nint main(void) { FILE *f = fopen("/etc/late.conf", "r"); return 0 * !f; }', "usr/bin/hello",
    )
    assert "missing: /etc/late.conf" in update(ground, "--verify", status=1)


def test_tampering_is_kept_until_it_is_forced(ground: Ground) -> None:
    (ground.jail / "etc/hello.conf").write_text("intruder\n")
    (ground.jail / "usr/bin/hello").chmod(0o4755)
    ground.host.greet('"patched"')
    ground.host.write("etc/hello.conf", "new\n")
    assert update(ground, status=1).count("KEPT") == 2
    assert says(ground.jail) == "patched intruder\n"
    assert "KEPT" in update(ground, status=1)
    assert not is_current(ground)
    update(ground, "--force")
    assert (says(ground.jail), is_current(ground)) == ("patched new\n", True)
    assert (ground.jail / "usr/bin/hello").stat().st_mode & 0o7777 == 0o755
    update(ground, "--rollback")
    assert says(ground.jail) == "patched intruder\n"


def test_what_was_taken_away_comes_again(ground: Ground) -> None:
    (ground.jail / "etc/hello.conf").unlink()
    (ground.jail / LIB / "libgreet.so.1").unlink()
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("hello world\n", True)


def dropped(ground: Ground) -> None:
    """/etc/hello.conf is gone from the host, and its package lists it no more."""
    (ground.host.top / "etc/hello.conf").unlink()
    ground.host.packages["hello"] = "1.1", ["/usr/bin/hello"]
    ground.host.settle()


def test_gone_from_the_host(ground: Ground) -> None:
    dropped(ground)
    update(ground)
    assert not (ground.jail / "etc/hello.conf").exists()
    assert is_current(ground)


def test_gone_from_the_host_and_needed_still(ground: Ground) -> None:
    (ground.host.top / LIB / "libgreet.so.1").unlink()
    ground.host.compile("int main(void) { return 0; }", "usr/bin/other")
    ground.host.compile(
        "const char *greet(void); int main(void) { return !greet(); }", "usr/bin/hello",
        f"{ground.host.top}/{LIB}/libgreet.so.1.0",
    )
    out = update(ground, status=1)
    assert "needs it still" in out
    assert (ground.jail / LIB / "libgreet.so.1").is_symlink()


def test_the_program_itself_is_gone(ground: Ground) -> None:
    (ground.host.top / "usr/bin/hello").unlink()
    ground.host.greet('"patched"')
    done = tracejail("update", ground.manifest)
    assert done.status == 5
    two_lines(done)
    assert says(ground.jail) == "hello world\n"


def test_a_directory_and_a_file_change_places(ground: Ground) -> None:
    conf = ground.host.top / "etc/hello.conf"
    conf.unlink()
    conf.mkdir()
    assert "KEPT" in update(ground, status=1)
    assert says(ground.jail) == "hello world\n"


def test_files_of_one_inode(ground: Ground) -> None:
    os.link(ground.host.top / "etc/hello.conf", ground.host.top / "etc/twin.conf")
    words = ("--from", ground.host.top, "-j", ground.jail, "--include", "/etc/twin.conf", "--include", "/etc/hello.conf")
    assert tracejail("learn", "--append", *words, "/usr/bin/hello").status == 0
    first, second = ground.jail / "etc/hello.conf", ground.jail / "etc/twin.conf"
    assert first.samefile(second)
    ground.host.write("etc/hello.conf", "both\n")
    update(ground)
    assert first.samefile(second)
    assert second.read_text() == "both\n"
    assert is_current(ground)
    update(ground, "--rollback")
    assert first.samefile(second)
    assert second.read_text() == "world\n"


def test_mode_and_owner_without_a_copy(ground: Ground) -> None:
    conf = ground.jail / "etc/hello.conf"
    inode = conf.stat().st_ino
    os.chown(ground.host.top / "etc/hello.conf", 1, 1)
    (ground.host.top / "etc/hello.conf").chmod(0o600)
    update(ground)
    status = conf.stat()
    assert (status.st_ino, status.st_uid, status.st_gid, status.st_mode & 0o7777) == (inode, 1, 1, 0o600)
    assert is_current(ground)
    update(ground, "--rollback")
    assert (conf.stat().st_uid, conf.stat().st_mode & 0o7777) == (0, 0o644)


def test_a_dry_run_changes_nothing(ground: Ground) -> None:
    needs_more(ground)
    (ground.jail / "etc/hello.conf").write_text("intruder\n")
    before = digest(ground.top)
    out = update(ground, "-n", status=1)
    assert f"add      /{LIB}/libextra.so.2.0" in out
    assert f"replace  /{LIB}/libgreet.so.1.0" in out
    assert out.index("libextra.so.2.0") < out.index("replace  ")
    assert digest(ground.top) == before


def test_there_and_back(ground: Ground) -> None:
    before = digest(ground.jail), ground.manifest.read_bytes()
    needs_more(ground)
    ground.host.compile("int main(void) { return 0; }", "usr/bin/other")
    dropped(ground)
    update(ground)
    after = digest(ground.jail), ground.manifest.read_bytes()
    former = ground.top / ".hello.jail.upkeep"
    assert former.stat().st_mode & 0o777 == 0o700
    update(ground, "--rollback")
    assert (digest(ground.jail), ground.manifest.read_bytes()) == before
    update(ground, "--rollback")
    assert (digest(ground.jail), ground.manifest.read_bytes()) == after
    update(ground, "--rollback")
    assert says(ground.jail) == "hello world\n"
    assert not is_current(ground)
    update(ground)
    assert (digest(ground.jail), ground.manifest.read_bytes()) == after


def test_no_way_back(ground: Ground) -> None:
    done = tracejail("update", "--rollback", ground.manifest)
    assert done.status == 2
    two_lines(done)
    ground.host.greet('"patched"')
    update(ground)
    (ground.jail / LIB / "libgreet.so.1.0").write_bytes(b"something")   # the same inode: its bytes alone are another's
    for _ in range(2):
        done = tracejail("update", "--rollback", ground.manifest)
        assert (done.status, "was changed since" in done.err) == (2, True)
        os.replace(ground.host.top / "etc/ld.so.conf", ground.jail / LIB / "libgreet.so.1.0")
        ground.host.write("etc/ld.so.conf", "")
    update(ground, "--rollback", "--force")
    assert says(ground.jail) == "hello world\n"


def test_a_program_that_runs_is_named(ground: Ground) -> None:
    ground.host.compile(
        "#include <unistd.h>\nconst char *greet(void);\nint main(int c, char **v) { if (c > 1) sleep(60); return !greet(); }",
        "usr/bin/hello", f"{ground.host.top}/{LIB}/libgreet.so.1.0",
    )
    update(ground)
    running = subprocess.Popen(["chroot", str(ground.jail), "/usr/bin/hello", "x"])
    try:
        until(lambda: "libgreet" in Path(f"/proc/{running.pid}/maps").read_text())
        ground.host.greet('"patched"')
        done = tracejail("update", "--json", ground.manifest).json["jails"][0]
        assert done["restart"] == [{"process": running.pid, "name": "hello", "paths": [f"/{LIB}/libgreet.so.1.0"]}]
        assert "libgreet.so.1.0 (deleted)" in Path(f"/proc/{running.pid}/maps").read_text()   # as other tools look for it
    finally:
        running.kill()
        running.wait()


def test_two_at_once(ground: Ground) -> None:
    ground.host.greet('"patched"')
    ground.host.compile("#include <unistd.h>\nint main(void) { sleep(3); return 0; }", "usr/bin/hello")
    first = subprocess.Popen(
        [*COMMAND, "update", "--verify", str(ground.manifest)], env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: (ground.top / ".hello.jail.upkeep/next/journal.json").exists())
        second = tracejail("update", ground.manifest)
        assert second.status == 7
        two_lines(second)
        assert tracejail("update", "--rollback", ground.manifest).status == 7
        assert first.wait(60) == 0
    finally:
        if first.poll() is None:
            first.send_signal(signal.SIGKILL)
            first.wait()
    assert is_current(ground)


def test_json(ground: Ground) -> None:
    needs_more(ground)
    document = tracejail("update", "--json", ground.manifest).json
    jail = document["jails"][0]
    assert (document["status"], jail["status"], jail["renewed"], jail["kept"]) == (0, 0, True, [])
    done = {row["path"]: row for row in jail["done"]}
    assert done[f"/{LIB}/libextra.so.2.0"]["action"] == "add"
    assert [done[f"/{LIB}/libgreet.so.1.0"][key] for key in ("action", "version", "now")] == ["replace", "1.0-1", "1.0-2"]


def test_a_directory_of_manifests(ground: Ground) -> None:
    place = ground.top / "manifests"
    place.mkdir()
    for name in ("one", "two"):
        assert tracejail("build", ground.manifest, "-j", ground.top / name).status == 0
        text = ground.manifest.read_text().replace(str(ground.jail), f"{ground.top}/{name}")
        (place / f"{name}.json").write_text(text)
    (place / "gone.json").write_text(ground.manifest.read_text().replace(str(ground.jail), f"{ground.top}/gone"))
    ground.host.greet('"patched"')
    done = tracejail("update", place)
    assert done.status == 5
    assert [says(ground.top / name) for name in ("one", "two")] == ["patched world\n"] * 2
    (place / "gone.json").unlink()
    assert tracejail("status", place).status == 0


def test_from_another_root_and_the_manifest_says_so(ground: Ground) -> None:
    subprocess.run(["cp", "-a", str(ground.host.top), str(ground.top / "other")], check=True)
    (ground.top / "other/etc/hello.conf").write_text("of another\n")
    assert tracejail("update", "--from", ground.top / "other", ground.manifest).status == 0
    assert says(ground.jail) == "hello of another\n"
    assert is_current(ground)
    assert json.loads(ground.manifest.read_text())["host"]["root"] == str(ground.top / "other")


def test_a_manifest_on_another_file_system(ground: Ground) -> None:
    there = Path("/dev/shm") / f"tracejail-{os.getpid()}-{time.time_ns()}.json"
    try:
        there.write_text(ground.manifest.read_text())
        ground.host.greet('"patched"')
        assert tracejail("update", there).status == 0
        assert tracejail("status", there).status == 0
        assert tracejail("update", "--rollback", there).status == 0
        assert says(ground.jail) == "hello world\n"
        assert there.read_text() == ground.manifest.read_text()
    finally:
        for path in (there, there.with_name(f".{there.name}.seen")):
            path.unlink(missing_ok=True)


def test_merged_from_several_hosts_is_refused(ground: Ground) -> None:
    copy = ground.top / "b.json"
    copy.write_text(ground.manifest.read_text())
    merged = ground.top / "merged.json"
    assert tracejail("merge", "--apart", ground.manifest, copy, "-o", merged).status == 0
    assert tracejail("status", merged).status == 0
    done = tracejail("update", merged)
    assert done.status == 2
    two_lines(done)
