"""What a program checks by itself: accounts, owners and modes, directories, its modules for login; and its powers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, compiled, copy, empty_jail, learned, names, put, script

_SSHD, _PERL, _LS, _VSFTPD, _APACHE, _UNBOUND = (
    "/usr/sbin/sshd", "/usr/bin/perl", "/usr/bin/ls", "/usr/sbin/vsftpd", "/usr/sbin/apache2", "/usr/sbin/unbound",
)
_SU = ("/usr/sbin/runuser", "-s", "/bin/sh", "-c", "echo hi", "daemon")
_ROOT_ONLY = "root:x:0:0:root:/root:/bin/sh\n"
# As it looks at each component before it lets a user in.
_CHECKS = (
    "for my $d ('/', '/srv', '/srv/home') { my @s = stat($d) or die;"
    " if ($s[4] != 0 || $s[2] & 022) { print STDERR \"bad ownership or modes for chroot directory component \\\"$d/\\\"\\n\";"
    " exit 255 } } print 'ok';"
)
_FTP = (
    "listen=YES\nlisten_port=2121\nanonymous_enable=YES\nlocal_enable=NO\nanon_root=/srv/ftp\nbackground=NO\nseccomp_sandbox=NO\n"
    "isolate=NO\nisolate_network=NO\n"
)
_FTP_CLIENT = ("--exercise", "curl -sv ftp://127.0.0.1:2121/ 2>&1")
_FALLS_BACK = (
    "for my $f ('/etc/debconf.conf', '/usr/share/debconf/debconf.conf') { if (open(F, $f)) { print \"by $f\"; exit 0 } } exit 1"
)
_WEB = (
    "ServerRoot /etc/apache2\nDefaultRuntimeDir /run/web\nServerName localhost\nListen 127.0.0.1:8080\n"
    "LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n"
    "LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n"
)
_RESOLVER = (
    "server:\n  chroot: \"/srv/unbound\"\n  username: \"\"\n  directory: \"/srv/unbound\"\n  pidfile: \"\"\n  use-syslog: no\n"
    "  interface: 127.0.0.1@5353\n  trust-anchor-file: \"/etc/unbound/root.key\"\nremote-control:\n  control-enable: no\n"
)
_THREADS = """
#include <pthread.h>
#include <stdio.h>
#include <string.h>
static void *run(void *given) { return given; }
int main(void) {
    pthread_t one;
    int failed = pthread_create(&one, 0, run, 0);
    if (failed) { fprintf(stderr, "can't start new thread: %s\\n", strerror(failed)); return 1; }
    return 0;
}
"""
# A filter for one call: prctl(PR_SET_NO_NEW_PRIVS), then prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct sock_fprog).
_FILTER = (
    "my $f = pack('SCCL' x 4, 0x20,0,0,0, 0x15,0,1,{call}, 6,0,0,{action}, 6,0,0,0x7fff0000);"
    "my $p = pack('S x6 P', 4, $f); syscall(157, 38, 1, 0, 0, 0); syscall(157, 22, 2, $p) == 0 or die 'no filter';"
)
_EPERM, _ENOSYS = "0x00050001", "0x00050026"


def _filtered(call: int, action: str, then: str) -> tuple[str, ...]:
    return (_PERL, "-e", _FILTER.replace("{call}", str(call)).replace("{action}", action) + then)


def _no_account(jail: Path) -> None:
    names(_SSHD, etc=("nsswitch.conf", "group", "localtime"))(jail)
    script(jail, "/etc/passwd", _ROOT_ONLY, 0o644)
    script(jail, "/etc/ssh/sshd_config", "Port 2222\nUsePAM no\n", 0o600)
    (jail / "run/sshd").mkdir(parents=True)


def _no_line(jail: Path) -> None:
    names("/usr/bin/id", etc=("nsswitch.conf", "group"))(jail)
    script(jail, "/etc/passwd", _ROOT_ONLY, 0o644)


def _open_to_a_group(jail: Path) -> None:
    put(jail, _PERL)
    (jail / "srv/home").mkdir(parents=True)
    (jail / "srv").chmod(0o775)


def _ftp(secure: bool, owner: int) -> Callable[[Path], None]:
    def build(jail: Path) -> None:
        names(_VSFTPD, etc=("nsswitch.conf", "passwd", "group", "localtime", "hosts"))(jail)
        script(jail, "/etc/vsftpd.conf", _FTP, 0o644)
        (jail / "srv/ftp").mkdir(parents=True)
        os.chown(jail / "srv/ftp", owner, owner)
        if secure:
            (jail / "var/run/vsftpd/empty").mkdir(parents=True)

    return build


def _web(jail: Path) -> None:
    put(jail, _APACHE, "/usr/lib/apache2/modules/mod_mpm_event.so", "/usr/lib/apache2/modules/mod_authz_core.so")
    script(jail, "/etc/apache2/web.conf", _WEB, 0o644)


def _falls_back(jail: Path) -> None:
    put(jail, _PERL)
    (jail / "usr/share/debconf").mkdir(parents=True)
    copy(jail, "/usr/share/debconf/debconf.conf")


def _resolver(jail: Path) -> None:
    put(jail, _UNBOUND)
    script(jail, "/srv/unbound/unbound.conf", _RESOLVER, 0o644)
    key = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
    script(jail, "/etc/unbound/root.key", key, 0o644)


def _threads(jail: Path) -> None:
    compiled("/usr/bin/prog", _THREADS)(jail)
    put(jail, _PERL)


CASES = (
    Case("P2", _no_account, (_SSHD, "-t"), "/etc/passwd", "Privilege separation user sshd does not exist", "account", more=True),
    Case("N1, the line", _no_line, ("/usr/bin/id", "daemon"), "/etc/passwd", "no such user", "account"),
    Case("P3, perl for sshd", _open_to_a_group, (_PERL, "-e", _CHECKS), "/srv", "bad ownership", "standing", healthy="ok"),
    Case("P5", _ftp(False, 0), (_VSFTPD, "/etc/vsftpd.conf"), "/var/run/vsftpd/empty", "", "", options=_FTP_CLIENT,
         told="secure_chroot_dir"),
    Case("P6, vsftpd", _ftp(True, 104), (_VSFTPD, "/etc/vsftpd.conf"), "/srv/ftp", "", "standing", options=_FTP_CLIENT,
         told="refusing to run with writable root"),
    Case("P8", _web, (_APACHE, "-t", "-f", "/etc/apache2/web.conf"), "/run/web", "must be a valid directory",
         "wanted-directory", more=True),
    Case("P10", _resolver, (_UNBOUND, "-d", "-c", "/srv/unbound/unbound.conf"), "/srv/unbound/etc/unbound/root.key", "",
         "outside-only", told="root.key", more=True),
    Case("P14", _falls_back, (_PERL, "-e", _FALLS_BACK), "/etc/debconf.conf", "by /usr/share/debconf", "fallback",
         healthy="by /etc"),
    Case("P19", learned(*_SU, gone="/lib/x86_64-linux-gnu/security/pam_rootok.so"), _SU,
         "/lib/x86_64-linux-gnu/security/pam_rootok.so", "runuser: ", healthy="hi", more=True),
    Case("P19, its service", learned(*_SU, gone="/etc/pam.d/runuser"), _SU, "/etc/pam.d/runuser", "hi", more=True),
    Case("N3", names(_LS), (_LS, "-l", "/usr"), "/etc/passwd", " 0 ", healthy="root", more=True),
    Case("R4", lambda jail: put(jail, "/usr/sbin/chroot"), ("/usr/sbin/chroot", "/usr", "true"), "/usr/sbin/chroot",
         "not permitted", "capability", options=("-u", "daemon"), started=(),
         instead=("/usr/sbin/chroot", "/usr", "true"), more=True),
    Case("R5", _threads, _filtered(435, _EPERM, "exec '/usr/bin/prog'"), "/usr/bin/prog", "can't start new thread", "filtered",
         instead=("/usr/bin/prog",)),
    Case("R12, perl for PID 1", lambda jail: put(jail, _PERL), (_PERL, "-e", "syscall(272, 0x20000); print 'on the root of all'"),
         _PERL, "on the root", "capability", options=("-u", "daemon"), status=0, started=(),
         instead=(_PERL, "-e", "syscall(272, 0x20000)")),
    Case("D9, perl for httpd", lambda jail: put(jail, _PERL),
         _filtered(318, _ENOSYS, "$b = 'x' x 8; syscall(318, $b, 8, 0) == 8 or die \"no random numbers: $!\\n\""), _PERL,
         "not implemented", "filtered", instead=(_PERL, "-e", "$b = 'x' x 8; syscall(318, $b, 8, 0) == 8 or die")),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)
