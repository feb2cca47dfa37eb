"""Each format is taken by its real tool, and what that makes is the jail: the same tree, from which the program runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from real import ENVIRONMENT, TOP, Result, Site, call, checked, learn, tracejail
from trees import differences

from tests.odd_names import NAMES

_SAYS = "import ssl, sys, zoneinfo; print(ssl.OPENSSL_VERSION.split()[0], zoneinfo.ZoneInfo('Europe/Berlin').key)"
_HEARD = "OpenSSL Europe/Berlin\n"


@dataclass(frozen=True)
class Taker:
    """A format, and shell lines that make the directory $TREE of $FILE; $JAIL is the jail that was built."""

    form: str
    take: str
    links: bool = True            # whether the format can say which names are of one file
    name: str = ""                # where there are more takers of a format
    odd: str = "odd"              # which odd names it can say
    devices: bool = True          # whether what is in /dev comes along


_UNPACK = """
skopeo --insecure-policy copy oci-archive:$FILE oci:$TREE.layout:image
umoci unpack --image $TREE.layout:image $TREE.bundle
"""
_BUILD = """
mkdir $TREE.context
tracejail export tar $JAIL.json -o $TREE.context/jail.tar
ours="buildah --root $TREE.storage --runroot $TREE.run --storage-driver vfs"
$ours build --isolation chroot -f $FILE -t image $TREE.context
name=$($ours from localhost/image)
cp -a $($ours mount $name) $TREE
$ours umount $name
"""

_UNSAYABLE = "".join(map(chr, (*range(0x20), 0x7F, *range(0xDC80, 0xDD00), ord("\\"))))   # for formats of plain lines

TAKERS = (
    Taker("rsync", "mkdir $TREE; rsync -aHAX --from0 --files-from=$FILE $JAIL/ $TREE/"),
    Taker("rsync", "mkdir $TREE; tar -C $JAIL --no-recursion --null -T $FILE --xattrs -cf - | "
                   "tar -C $TREE -xpf - --xattrs-include='*'", name="tar -T"),
    Taker("tar", "mkdir $TREE; tar -C $TREE -xpf $FILE --xattrs-include='*'", name="GNU tar"),
    Taker("tar", "mkdir $TREE; bsdtar -C $TREE -xpf $FILE", name="bsdtar"),
    Taker("cpio", "mkdir $TREE; cpio -id -m --no-absolute-filenames -D $TREE <$FILE", name="GNU cpio"),
    Taker("cpio", "mkdir $TREE; bsdtar -C $TREE -xpf $FILE", name="bsdtar reads cpio"),
    # libarchive's reader of mtree knows no hard links.
    Taker("mtree", "mkdir $TREE; cd $JAIL && bsdtar -cf $TREE.tar --format=gnutar @$FILE && bsdtar -C $TREE -xpf $TREE.tar",
          links=False, odd="no-patterns"),
    Taker("squashfs", "mksquashfs - $TREE.image -pf $FILE -quiet -no-progress; unsquashfs -d $TREE -no-progress $TREE.image",
          odd="no-newlines"),
    Taker("oci", f"{_UNPACK}mv $TREE.bundle/rootfs $TREE", devices=False),
    Taker("dockerfile", _BUILD),
)


@pytest.fixture(scope="module")
def jails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Two jails: a program's, and one of odd names, modes, owners, links and attributes, all that the host can hold."""
    top = tmp_path_factory.mktemp("export")
    top.chmod(0o755)
    found = {}
    for name, without in (("program", ""), ("odd", ""), ("no-patterns", "*?["), ("no-newlines", "\n"), ("sayable", _UNSAYABLE)):
        site = Site(top / name)
        site.top.mkdir(mode=0o755)
        site.fresh(None)
        if name == "program":
            learn(site, "/usr/bin/python3", "-c", _SAYS)
        else:
            learn(site, *_odd(site, [each for each in NAMES if not set(each) & set(without)]))
        found[name] = site.jail
    yield found


def _odd(site: Site, names: list[str]) -> list[str]:
    d = site.files
    for number, name in enumerate(names):
        path = os.fsencode(d) + b"/" + os.fsencode(name)
        Path(os.fsdecode(path)).write_bytes(b"%d\n" % number)
        os.chown(path, number, 1000 + number)
        os.chmod(path, 0o644)
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + number))
    (d / "twice").write_text("twice\n")
    os.link(d / "twice", d / "a second name")
    (d / "deep").mkdir(mode=0o711)
    os.symlink("../a second name", d / "deep" / "link -> there")
    (d / "set").write_text("set\n")
    (d / "set").chmod(0o6755)
    checked("mkfifo", d / "pipe")
    includes = [str(d / "twice"), str(d / "a second name"), str(d / "deep" / "link -> there"), str(d / "set"), str(d / "pipe")]
    words = [word for path in includes for word in ("--include", path)]
    return [*words, "--allow", str(d / "set"), "/usr/bin/find", str(d), "-type", "f", "-exec", "/usr/bin/wc", "-c", "{}", "+"]


def exported(form: str, jail: Path, at: Path, *words: str) -> Path:
    """An export of a jail's manifest as a file."""
    file = at / f"{form}.export"
    done = tracejail("export", form, f"{jail}.json", "-o", str(file), *words)
    assert done.returncode == 0, done.stderr
    return file


def taken(taker: Taker, file: Path, jail: Path, tree: Path) -> Result:
    """What the tool says of it."""
    tool = f"tracejail() {{ PYTHONPATH={TOP} {sys.executable} -m tracejail \"$@\"; }}"
    return call(["/bin/sh", "-ec", f"FILE={file} JAIL={jail} TREE={tree}\n{tool}\n{taker.take}"])


def _untimed(jail: Path) -> frozenset[bytes]:
    """The files that are made anew for each jail."""
    entries = json.loads(Path(f"{jail}.json").read_text("utf-8", "surrogateescape"))["entries"]
    return frozenset(os.fsencode(entry["path"]) for entry in entries if entry["type"] == "file" and not entry.get("mtime_ns"))


@pytest.mark.parametrize("which", ["program", "odd"])
@pytest.mark.parametrize("taker", TAKERS, ids=lambda taker: taker.name or taker.form)
def test_the_same_tree(jails: dict[str, Path], tmp_path: Path, taker: Taker, which: str) -> None:
    jail, tree = jails[which if which == "program" else taker.odd], tmp_path / "tree"
    file = exported(taker.form, jail, tmp_path, "--name", "image")
    done = taken(taker, file, jail, tree)
    assert done.returncode == 0, done.stderr
    found = differences(jail, tree, taker.links, _untimed(jail))
    assert not [line for line in found if taker.devices or not line.startswith("b'/dev/")]
    if which == "program":
        assert checked("chroot", tree, "/usr/bin/python3", "-c", _SAYS) == _HEARD


@pytest.mark.parametrize("form", ["tar", "cpio", "mtree", "list0", "rsync", "oci", "squashfs"])
def test_the_same_bytes_twice(jails: dict[str, Path], tmp_path: Path, form: str) -> None:
    """Also where one comes from the host's files and one from the jail's, which were made from them."""
    first, second = tmp_path / "first", tmp_path / "second"
    for at, words in ((first, []), (second, ["--from", "/"])):
        at.mkdir()
        exported(form, jails["program"], at, *words)
    one, other = (at / f"{form}.export" for at in (first, second))
    assert one.read_bytes() == other.read_bytes()


def test_mtree_verifies_the_jail(jails: dict[str, Path], tmp_path: Path) -> None:
    for jail in (jails["program"], jails["no-patterns"]):
        file = exported("mtree", jail, tmp_path)
        done = call(["mtree", "-f", str(file), "-p", str(jail)])
        assert (done.returncode, done.stdout) == (0, ""), done.stdout[:2000]


def test_mtree_refuses_what_mtree_takes_for_a_pattern(jails: dict[str, Path], tmp_path: Path) -> None:
    done = tracejail("export", "mtree", f"{jails['odd']}.json", "-o", str(tmp_path / "x"))
    assert done.returncode == 1 and "pattern" in done.stderr and not list(tmp_path.iterdir())


def test_a_changed_file_gives_no_half_archive(jails: dict[str, Path], tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    checked("cp", "-a", jails["program"], jail)
    entries = json.loads(Path(f"{jails['program']}.json").read_text())["entries"]
    path = next(entry["path"] for entry in entries if entry.get("size", 0) > 100_000)
    with open(f"{jail}{path}", "r+b") as stream:
        stream.write(b"changed")
    output = tmp_path / "x.tar"
    done = tracejail("export", "tar", f"{jails['program']}.json", "-j", str(jail), "-o", str(output))
    assert done.returncode == 5 and path in done.stderr and len(done.stderr.splitlines()) == 2
    assert list(tmp_path.glob("x.tar*")) == []


def test_a_closed_pipe(jails: dict[str, Path]) -> None:
    script = f"{sys.executable} -m tracejail export tar {jails['program']}.json | head -c 100 >/dev/null"
    environment = {**ENVIRONMENT, "PYTHONPATH": str(TOP)}
    done = subprocess.run(["/bin/sh", "-c", script], cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""


# --- what runs an image -----------------------------------------------------------------------------------------------

# A runtime wants the one hierarchy of cgroups, and may find the old ones here; the mount is gone with its namespace.
_ALONE = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec"]
_CGROUPS = "umount -l -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"


@pytest.mark.parametrize("runtime", ["crun --cgroup-manager=disabled", "runc"])
def test_a_runtime_runs_the_image(jails: dict[str, Path], tmp_path: Path, runtime: str) -> None:
    file = exported("oci", jails["program"], tmp_path, "--name", "image")
    done = call(["/bin/sh", "-ec", f"FILE={file} TREE={tmp_path}/tree; {_UNPACK}"])
    assert done.returncode == 0, done.stderr
    configuration = tmp_path / "tree.bundle" / "config.json"
    document = json.loads(configuration.read_text())
    document["process"]["terminal"] = False
    configuration.write_text(json.dumps(document))
    done = call([*_ALONE, f"{_CGROUPS}; {runtime} run --bundle {tmp_path}/tree.bundle tracejail-{os.getpid()}"])
    assert (done.returncode, done.stdout) == (0, _HEARD), done.stderr


def test_a_runtime_runs_it_with_the_profile(site: Site, tmp_path: Path) -> None:
    """With what was seen it runs; without one call of that it does not: the profile is in force."""
    learn(site, "--syscalls", "/usr/bin/python3", "-c", _SAYS)
    profile = json.loads(exported("seccomp", site.jail, tmp_path).read_text())
    file = exported("oci", site.jail, tmp_path, "--name", "image")
    done = call(["/bin/sh", "-ec", f"FILE={file} TREE={tmp_path}/tree; {_UNPACK}"])
    assert done.returncode == 0, done.stderr
    configuration = tmp_path / "tree.bundle" / "config.json"
    document = json.loads(configuration.read_text())
    document["process"]["terminal"] = False
    (rule,) = profile["syscalls"]
    for names, expected in ((rule["names"], _HEARD), ([name for name in rule["names"] if name != "pread64"], "")):
        document["linux"]["seccomp"] = {**profile, "syscalls": [{**rule, "names": names}]}
        configuration.write_text(json.dumps(document))
        for runtime in ("crun --cgroup-manager=disabled", "runc"):
            done = call([*_ALONE, f"{_CGROUPS}; {runtime} run --bundle {tmp_path}/tree.bundle tracejail-{os.getpid()}"])
            assert done.stdout == expected, done.stderr


def test_the_calls_are_those_that_strace_sees(site: Site, tmp_path: Path) -> None:
    threads = "import threading; threading.Thread(target=print).start()"
    program = ["/bin/sh", "-c", f"cat /etc/hostname | wc -c; exec python3 -c '{threads}'"]
    noted = set(learn(site, "--syscalls", *program)["syscalls"])
    log = tmp_path / "strace"
    checked("strace", "-f", "-o", log, "chroot", site.jail, *program)
    lines = log.read_text().splitlines()
    begins = next(index for index, line in enumerate(lines) if "chroot" not in line and 'execve("/bin/sh"' in line)
    seen = {found[1] for line in lines[begins:] if (found := re.match(r"\d+ +(\w+)\(", line))}
    # How often a wait is interrupted is chance. The engines refuse clone3(2), and so does the profile: clone(2) is made then.
    assert seen - noted <= {"restart_syscall", "clone3"} and noted - seen <= {"restart_syscall", "rt_sigreturn", "futex"}


def test_the_parser_of_apparmor_takes_the_profile(jails: dict[str, Path], tmp_path: Path) -> None:
    """The profile itself: that it confines, a kernel with AppArmor would have to show."""
    for jail in (jails["program"], jails["sayable"]):
        file = exported("apparmor", jail, tmp_path)
        done = call(["apparmor_parser", "-Q", "-K", "-D", "rule-exprs", str(file)])
        assert done.returncode == 0, done.stderr
        taken = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("rule: ")]
        assert len(taken) >= len(_files(jail))


def test_landlock_keeps_the_program_to_its_files(jails: dict[str, Path], tmp_path: Path) -> None:
    """By what stands for a setpriv(1) that knows Landlock, as Debian 12's does not: these options, and the kernel's own calls."""
    file = exported("landlock", jails["program"], tmp_path)
    stand_in = Path(__file__).parent / "setpriv_with_landlock.py"
    done = call(["xargs", "-0", "-a", str(file), sys.executable, str(stand_in)])
    assert (done.returncode, done.stdout) == (0, _HEARD), done.stderr
    words = file.read_bytes().split(b"\0")
    at = words.index(b"--")
    reads = [*words[: at + 2], b"-c", b"print(open('/etc/shadow').read())"]
    file.write_bytes(b"\0".join([*reads, b""]))
    done = call(["xargs", "-0", "-a", str(file), sys.executable, str(stand_in)])
    assert done.returncode != 0 and "Permission denied: '/etc/shadow'" in done.stderr


# --- what goes into an initramfs --------------------------------------------------------------------------------------


def test_a_hook_of_initramfs_tools(jails: dict[str, Path], tmp_path: Path) -> None:
    """The kernel is none that is here: its configuration is in a /boot of the test's own."""
    script = f"""
mount -t tmpfs none /boot
echo CONFIG_RD_GZIP=y >/boot/config-0.0.0-test
cp -a /etc/initramfs-tools {tmp_path}/conf
sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=gzip/' {tmp_path}/conf/initramfs.conf
install -m 755 {exported("initramfs", jails["program"], tmp_path)} {tmp_path}/conf/hooks/program
mkinitramfs -d {tmp_path}/conf -o {tmp_path}/image 0.0.0-test
mkdir {tmp_path}/tree
unmkinitramfs {tmp_path}/image {tmp_path}/tree
"""
    done = call([*_ALONE, script])
    assert done.returncode == 0, done.stderr
    assert set(_files(jails["program"])) <= set(checked("lsinitramfs", tmp_path / "image").splitlines())
    top = tmp_path / "tree" / "main" if (tmp_path / "tree" / "main").exists() else tmp_path / "tree"
    assert checked("chroot", top, "/usr/bin/python3", "-c", _SAYS) == _HEARD


def test_a_configuration_of_dracut(jails: dict[str, Path], tmp_path: Path) -> None:
    file = exported("dracut", jails["program"], tmp_path)
    (tmp_path / "conf.d").mkdir()
    checked("dracut", "--conf", file, "--confdir", tmp_path / "conf.d", "--no-kernel", "--force", "--modules", "base",
            "--tmpdir", tmp_path, tmp_path / "image")
    (tmp_path / "tree").mkdir()
    checked("/bin/sh", "-ec", f"cd {tmp_path}/tree && lsinitrd --unpack {tmp_path}/image")
    assert checked("chroot", tmp_path / "tree", "/usr/bin/python3", "-c", _SAYS) == _HEARD


def _files(jail: Path) -> list[str]:
    entries = json.loads(Path(f"{jail}.json").read_text())["entries"]
    return [entry["path"][1:] for entry in entries if entry["type"] == "file"]
