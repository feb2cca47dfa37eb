"""Weaknesses, each as it is planted in a clean jail. `python -m tests.audit.planted` plants them all and says what was found."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from tests.audit.jails import (
    DAEMON,
    Plant,
    audited,
    causes,
    copied,
    directory,
    fresh,
    link,
    listening,
    node,
    place,
    several,
    static_program,
    text,
    with_manifest,
    write,
)

_KEY = (
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"
)
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAA\n-----END\n"
_HASH = "$6$rounds=5000$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ./abcdef"
_CORE = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 4, 62, 1) + bytes(9000)


def _set_capability(jail: Path) -> None:
    target = write(jail, "/bin/server", static_program(), 0o755)
    subprocess.run(["setcap", "cap_net_raw,cap_sys_admin=ep", target], check=True)


def _hard_link_out(jail: Path) -> None:
    write(jail, "/etc/shared", "of both\n")
    os.link(jail / "etc/shared", jail.parent / "outside")


def _hard_linked_shell(jail: Path) -> None:
    write(jail, "/srv/data.bin", Path("/bin/bash").read_bytes(), 0o755)
    os.link(jail / "srv/data.bin", jail / "srv/other")


def _acl(jail: Path) -> None:
    """An access control list as setfacl(1) makes it, which may not be installed."""
    target = write(jail, "/bin/server", static_program(), 0o755)
    lines = ((1, 7, 0xFFFFFFFF), (2, 7, DAEMON), (4, 5, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF))
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *line) for line in lines)
    os.setxattr(target, "system.posix_acl_access", value)


def _deep(jail: Path) -> None:
    here = os.open(jail / "srv", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


_BUSYBOX = copied("/bin/busybox", "/srv/picture.png")
_DROPPED = text("/var/lib/app/x", static_program(), 0o755, DAEMON, DAEMON)
_BIND = "mkdir -p {J}/host; mount --bind"

PLANTS: tuple[Plant, ...] = (
    # Shells, by whatever name.
    Plant("a shell", copied("/bin/dash", "/bin/sh"), "shell", "/bin/sh"),
    Plant("a renamed shell", copied("/bin/bash", "/usr/lib/x"), "shell", "/usr/lib/x"),
    Plant("a shell that can't be executed", copied("/bin/bash", "/srv/notes.txt", 0o644), "shell", "/srv/notes.txt"),
    Plant("a small shell under another name", copied("/bin/dash", "/usr/lib/libfoo.so.1"), "shell", "/usr/lib/libfoo.so.1"),
    Plant("a hard link to a renamed shell", _hard_linked_shell, "shell", "/srv/other"),
    Plant("a shell behind a link", link("/bin/sh", "/bin/daemon"), "shell", "/bin/sh"),
    Plant("a renamed multi-call binary", _BUSYBOX, "multi-call", "/srv/picture.png"),
    Plant("an applet", link("/bin/wget", "/srv/picture.png", _BUSYBOX), "file-transfer", "/bin/wget"),
    Plant("an applet that is a shell", link("/bin/ash", "../srv/picture.png", _BUSYBOX), "shell", "/bin/ash"),
    Plant("an applet for modes", link("/bin/chmod", "/srv/picture.png", _BUSYBOX), "privilege-tool", "/bin/chmod"),
    # Interpreters and compilers.
    Plant("perl", copied("/usr/bin/perl", "/usr/bin/perl"), "interpreter", "/usr/bin/perl"),
    Plant("a renamed perl", copied("/usr/bin/perl", "/opt/report"), "interpreter", "/opt/report"),
    Plant("a renamed python", copied("/usr/bin/python3", "/usr/sbin/maild"), "interpreter", "/usr/sbin/maild"),
    Plant("a renamed awk", copied("/usr/bin/gawk", "/bin/fmt2"), "interpreter", "/bin/fmt2"),
    Plant("a renamed php", copied("/usr/bin/php", "/srv/p"), "interpreter", "/srv/p"),
    Plant("an interpreter that is a script", text("/usr/bin/ruby", "#!/bin/daemon\n", 0o755), "interpreter", "/usr/bin/ruby"),
    Plant("a renamed compiler", copied("/usr/bin/gcc", "/srv/g"), "compiler", "/srv/g"),
    Plant("a renamed assembler", copied("/usr/bin/as", "/srv/a"), "compiler", "/srv/a"),
    Plant("a linker", copied("/usr/bin/ld", "/usr/bin/ld"), "compiler", "/usr/bin/ld"),
    # Tools.
    Plant("a renamed curl", copied("/usr/bin/curl", "/bin/c"), "file-transfer", "/bin/c"),
    Plant("a renamed ssh", copied("/usr/bin/ssh", "/bin/s"), "file-transfer", "/bin/s"),
    Plant("a renamed scp", copied("/usr/bin/scp", "/bin/s"), "file-transfer", "/bin/s"),
    Plant("a renamed rsync", copied("/usr/bin/rsync", "/bin/s"), "file-transfer", "/bin/s"),
    Plant("a renamed socat", copied("/usr/bin/socat", "/bin/s"), "file-transfer", "/bin/s"),
    Plant("a tool that is known by its name", text("/usr/bin/ncat", static_program(), 0o755), "file-transfer", "/usr/bin/ncat"),
    Plant("a renamed sed", copied("/bin/sed", "/bin/s"), "editor", "/bin/s"),
    Plant("an editor by its name", text("/usr/bin/vi", static_program(), 0o755), "editor", "/usr/bin/vi"),
    Plant("a renamed cat", copied("/bin/cat", "/bin/lolcat"), "file-tool", "/bin/lolcat"),
    Plant("a renamed chmod", copied("/bin/chmod", "/bin/s"), "privilege-tool", "/bin/s"),
    Plant("a renamed mknod", copied("/bin/mknod", "/bin/s"), "privilege-tool", "/bin/s"),
    Plant("a renamed chroot", copied("/usr/sbin/chroot", "/bin/s"), "privilege-tool", "/bin/s"),
    Plant("a renamed mount", copied("/bin/mount", "/bin/s"), "privilege-tool", "/bin/s"),
    Plant("a renamed setpriv", copied("/usr/bin/setpriv", "/bin/s"), "privilege-tool", "/bin/s"),
    Plant("a file that the host's bytes tell", copied("/usr/sbin/sysctl", "/bin/s"), "privilege-tool", "/bin/s"),
    Plant("a renamed tracer", copied("/usr/bin/strace", "/bin/s"), "tracer", "/bin/s"),
    Plant("a renamed package tool", copied("/usr/bin/dpkg", "/bin/s"), "package-tool", "/bin/s"),
    # Powers.
    Plant("set-user-ID", text("/bin/server", static_program(), 0o4755), "setuid", "/bin/server"),
    Plant("set-user-ID of another than root", text("/bin/server", static_program(), 0o4755, 33), "setuid", "/bin/server"),
    Plant("set-group-ID", text("/bin/server", static_program(), 0o2755, 0, 42), "setgid", "/bin/server"),
    Plant("file capabilities", _set_capability, "file-capability", "/bin/server"),
    # Devices.
    Plant("kernel memory", node("/dev/kmem", "c", 1, 2), "memory-device", "/dev/kmem"),
    Plant("memory with a harmless name", node("/dev/zero", "c", 1, 1), "memory-device", "/dev/zero"),
    Plant("ports, outside of /dev", node("/srv/port", "c", 1, 4), "memory-device", "/srv/port"),
    Plant("a disk with a harmless name", node("/dev/random", "b", 8, 0), "block-device", "/dev/random"),
    Plant("a loop device", node("/dev/loop0", "b", 7, 0), "block-device", "/dev/loop0"),
    Plant("the kernel's log", node("/dev/kmsg", "c", 1, 11), "device", "/dev/kmsg"),
    Plant("network tunnels", node("/dev/net/tun", "c", 10, 200), "device", "/dev/net/tun"),
    Plant("a disk, raw", node("/dev/sg0", "c", 21, 0), "device", "/dev/sg0"),
    Plant("a device of no known kind", node("/dev/thing", "c", 254, 3), "device", "/dev/thing"),
    # Who may write.
    Plant("a file that all may write to", text("/etc/motd", "hi\n", 0o666), "world-writable-file", "/etc/motd"),
    Plant("a directory that all may write to", directory("/srv/up", 0o777), "world-writable-directory", "/srv/up"),
    Plant("a sticky one", directory("/tmp", 0o1777), "world-writable-directory", "/tmp"),
    Plant("a file of a group", text("/srv/page", "hi\n", 0o664, 0, 33), "group-writable", "/srv/page"),
    Plant("a script that the daemon owns", text("/srv/start", "#!/bin/daemon\n", 0o755, DAEMON), "writable-code",
          "/srv/start", ()),
    Plant("a script of the daemon's group", text("/srv/start", "#!/bin/daemon\n", 0o775, 0, DAEMON), "writable-code",
          "/srv/start", ()),
    Plant("a library of the daemon's own", copied("/lib/x86_64-linux-gnu/libz.so.1", "/lib/libz.so.1", 0o644), "writable-code",
          "/lib/libz.so.1", (), shell=f"chown {DAEMON} {{J}}/lib/libz.so.1"),
    Plant("a program of the user that -u names", text("/bin/server", static_program(), 0o755, 1), "writable-code", "/bin/server",
          options=("-u", "1:1")),
    Plant("a program that is another user's, and nobody said who runs", text("/bin/server", static_program(), 0o755, 33),
          "writable-code", "/bin/server"),
    Plant("a program by an access control list", _acl, "writable-code", "/bin/server", (), cured=False),
    Plant("what was dropped where the daemon writes", _DROPPED, "writable-code", "/var/lib/app/x", ("/var/lib/app",)),
    Plant("configuration of the daemon's own", text("/etc/app.conf", "x = 1\n", 0o644, DAEMON), "writable-configuration",
          "/etc/app.conf", ()),
    Plant("what is read, and the daemon's own", text("/srv/page.html", "hi\n", 0o644, DAEMON), "writable-configuration",
          "/srv/page.html", ()),
    Plant("a directory of programs of the daemon's own", directory("/opt/app", 0o755, DAEMON, 0, "tool"), "writable-directory",
          "/opt/app", ()),
    Plant("a directory of programs of its group", directory("/opt/app", 0o775, 0, DAEMON, "tool"), "writable-directory",
          "/opt/app", ()),
    Plant("a directory of programs of everybody", directory("/opt/app", 0o777, 0, 0, "tool"), "writable-directory", "/opt/app"),
    Plant("a place that is written, on a mount with exec", lambda _: None, "written-executable", "/var/lib/app",
          ("/var/lib/app",)),
    Plant("the same in memory", directory("/run/app", 0o755), "written-executable", "/run/app", ("/run/app",),
          shell="mount -t tmpfs -o exec tmpfs {J}/run/app"),
    # Secrets.
    Plant("a key in a file of another name", text("/srv/readme.txt", f"see below\n\n{_KEY}"), "private-key", "/srv/readme.txt"),
    Plant("a key of SSH in a back-up", text("/srv/old.tgz.txt", _OPENSSH), "private-key", "/srv/old.tgz.txt"),
    Plant("a key by its place", text("/etc/ssl/private/site.key", "x" * 80), "private-key", "/etc/ssl/private/site.key"),
    Plant("a hash in passwd", text("/etc/passwd", f"root:{_HASH}:0:0::/:/bin/daemon\n"), "password-hash", "/etc/passwd"),
    Plant("a hash in shadow", text("/etc/shadow", f"root:{_HASH}:19000::::::\n", 0o600), "password-hash", "/etc/shadow"),
    Plant("an old hash", text("/etc/passwd", "root:abJnggxhB/yWI:0:0::/:/bin/daemon\n"), "password-hash", "/etc/passwd"),
    Plant("hashes in a file of any name", text("/srv/users.txt", f"# users\nadmin:{_HASH}\n"), "password-hash", "/srv/users.txt"),
    Plant("no password at all", text("/etc/passwd", "app::0:0::/:/bin/daemon\n"), "empty-password", "/etc/passwd"),
    Plant("authorized keys", text("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n"), "secret", "/root/.ssh/authorized_keys"),
    Plant("a token", text("/srv/app.ini", "id = AKIAIOSFODNN7EXAMPLE\n"), "secret", "/srv/app.ini"),
    Plant("a keytab of another name", text("/srv/k", b"\x05\x02\x00\x00\x00\x40" + bytes(60)), "private-key", "/srv/k"),
    Plant("a history", text("/root/.bash_history", "mysql -psecret\n"), "history", "/root/.bash_history"),
    Plant("a repository", several(directory("/srv/.git", 0o755), text("/srv/.git/HEAD", "ref: x\n")), "repository", "/srv/.git"),
    Plant("a memory image", text("/srv/data.tmp", _CORE), "core-dump", "/srv/data.tmp"),
    Plant("a memory image by its name", text("/srv/core.4711", b"\0" * 9000), "core-dump", "/srv/core.4711"),
    Plant("what an editor left", text("/etc/.app.conf.swp", "b0VIM\n"), "left-over", "/etc/.app.conf.swp"),
    # Ways out.
    Plant("the container engine's socket", listening("/run/docker.sock"), "socket", "/run/docker.sock"),
    Plant("the message bus", listening("/run/dbus/system_bus_socket"), "socket", "/run/dbus/system_bus_socket"),
    Plant("a desktop", listening("/tmp/.X11-unix/X0"), "socket", "/tmp/.X11-unix/X0"),
    Plant("an agent", listening("/tmp/ssh-abcdef/agent.17"), "socket", "/tmp/ssh-abcdef/agent.17"),
    Plant("a bound socket of another name", several(text("/srv/s", ""), lambda jail: listening("/docker.sock")(jail.parent)),
          "socket", "/srv/s", shell="mount --bind /mnt/docker.sock {J}/srv/s"),
    Plant("a file with a name outside", _hard_link_out, "hard-link-out", "/etc/shared"),
    Plant("a link above the root", link("/srv/up", "../../../etc/passwd"), "link-out", "/srv/up"),
    Plant("a link to what is on the host alone", link("/srv/conf", "/etc/passwd"), "link-out", "/srv/conf"),
    Plant("/proc", directory("/proc", 0o555), "kernel-mount", "/proc", shell="mount -t proc proc {J}/proc"),
    Plant("/sys", directory("/sys", 0o555), "kernel-mount", "/sys", shell="mount -t sysfs -o ro sysfs {J}/sys"),
    Plant("a directory of the host", directory("/host", 0o755), "bind-mount", "/host", shell=f"{_BIND} /etc/ssl {{J}}/host"),
    Plant("all of /etc", directory("/host", 0o755), "bind-mount", "/host", shell=f"{_BIND} /etc {{J}}/host"),
    Plant("all of /run", directory("/host", 0o755), "bind-mount", "/host", shell=f"{_BIND} /run {{J}}/host"),
    Plant("a jail that is not root's", lambda jail: os.chown(jail, 33, 33), "not-roots", "/mnt/jail"),
    Plant("a jail that a group may write to", lambda jail: jail.chmod(0o775), "not-roots", "/mnt/jail"),
    Plant("a directory above it for all", lambda jail: jail.parent.chmod(0o777), "not-roots", "/mnt"),
    # What is more than was needed.
    Plant("a file that no run needed", lambda _: None, "not-needed", "/srv/extra", (), shell="echo hi >{J}/srv/extra",
          cured=False),
    Plant("a tree that no run needed", lambda _: None, "not-needed", "/usr", (),
          shell="mkdir -p {J}/usr/a/b; echo >{J}/usr/a/b/c", cured=False),
    Plant("a library that is older than the host's", text("/usr/lib/x86_64-linux-gnu/libz.so.1.2.13", static_program()), "stale",
          "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13"),
    Plant("a tree too deep to look into", _deep, "not-looked-at", "/srv" + "/d" * 255, cured=False),
    Plant("a program that is packed", text("/bin/p", static_program()[:220] + b"UPX!" + static_program()[224:], 0o755),
          "not-looked-at", "/bin/p", cured=False),
    # Odd names.
    Plant("a name with an escape and a newline", copied("/bin/bash", "/srv/\x1b[2J\nok"), "shell", "/srv/\x1b[2J\nok"),
    Plant("a name of bytes that are no text", copied("/bin/bash", os.fsdecode(b"/srv/\xff\xfe'x")), "shell",
          os.fsdecode(b"/srv/\xff\xfe'x")),
)


def check(plant: Plant) -> None:
    """It is found, and what is told as its remedy does away with it when it is pasted."""
    wanted = (plant.rule, plant.path)
    with place() as top:
        jail = fresh(top)
        plant.build(jail)
        if plant.written is not None:
            with_manifest(jail, plant.written)
        said = audited(top, plant)
        found = causes(said["first"])
        assert wanted in found, (wanted, found)
        if plant.cured:
            assert said["commands"], said["first"]
            assert wanted not in causes(said["again"]), said["commands"]


def main() -> None:
    for plant in PLANTS:
        try:
            check(plant)
            result = "found"
        except AssertionError as error:
            result = f"NOT {str(error)[:300]}"
        print(f"{plant.name:<60} {plant.rule:<24} {result}", flush=True)


if __name__ == "__main__":
    main()
