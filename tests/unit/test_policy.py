"""The policy: what is refused and why, and above all what is not."""

from __future__ import annotations

import fnmatch

import pytest

from tracejail.model import EntryType, JailPath
from tracejail.resolve.host import HostNode
from tracejail.resolve.policy import DEVICES, HARMLESS, SECRETS, harmless, judge

BODY = b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n"
KEYS = [
    b"-----BEGIN PRIVATE KEY-----\n" + BODY,
    b"-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-256-CBC,00\r\n\r\n" + BODY,
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + BODY,
    b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + BODY,
    b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + BODY,
    b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
    b"-----BEGIN CERTIFICATE-----\n" + BODY + b"-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n" + BODY,
]
NO_KEYS = [
    b"-----BEGIN CERTIFICATE-----\n" + BODY,
    b"-----BEGIN PUBLIC KEY-----\n" + BODY,
    b'static const char *head = "-----BEGIN PRIVATE KEY-----\\n";\n',
    b"PEM = '''\\\n-----BEGIN PRIVATE KEY-----'''\n",
    b"-----BEGIN PRIVATE KEY-----\nis how such a file begins.\n",
    b"\x7fELF\0\0-----BEGIN PRIVATE KEY-----\n" + BODY,
    b"\0\n-----BEGIN PRIVATE KEY-----\n" + BODY,
]
BY_PLACE = [
    "/srv/root/etc/shadow", "/srv/root/etc/gshadow-",
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ssl/private/site.key",
    "/etc/ssh/ssh_host_ed25519_key", "/home/a/.ssh/id_ed25519", "/root/.aws/credentials", "/root/.kube/config",
    "/root/.netrc", "/root/.pgpass", "/root/.my.cnf", "/root/.gnupg/secring.gpg", "/root/.bash_history",
    "/root/.psql_history", "/etc/krb5.keytab", "/root/.git-credentials", "/root/.docker/config.json", "/etc/sudoers",
]


def node(path: str, kind: EntryType = EntryType.FILE, mode: int = 0o644, device: tuple[int, int] | None = None) -> HostNode:
    return HostNode(JailPath(path), kind, mode, 0, 0, 100, 0, (1, 2), 1, "", device, "")


def allowed(path: str, start: bytes = b"", *allows: str) -> bool:
    return judge(JailPath(path), node(path), start, allows).allowed


@pytest.mark.parametrize("path", BY_PLACE)
def test_refused_by_place(path: str) -> None:
    verdict = judge(JailPath(path), node(path), b"", ())
    assert not verdict.allowed and verdict.reason
    assert allowed(path, b"", path)
    assert not allowed(path, b"", path + "x")


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/ssh/ssh_host_rsa_key.pub", "/etc/ssh/sshd_config", "/etc/ssl/cert.pem"])
def test_not_refused_by_place(path: str) -> None:
    assert allowed(path)


def test_directories_of_secrets_may_be_there() -> None:
    assert judge(JailPath("/etc/ssl/private"), node("/etc/ssl/private", EntryType.DIRECTORY), b"", ()).allowed


@pytest.mark.parametrize("start", KEYS)
def test_private_key_by_content(start: bytes) -> None:
    assert not allowed("/srv/site.pem", start)
    assert allowed("/srv/site.pem", start, "/srv/*")


@pytest.mark.parametrize("start", NO_KEYS)
def test_no_private_key(start: bytes) -> None:
    assert allowed("/srv/code", start)


@pytest.mark.parametrize("device", [(1, 1), (1, 2), (1, 4), (1, 11), (8, 0), (10, 200)])
def test_devices_that_reach_further(device: tuple[int, int]) -> None:
    path = JailPath("/dev/x")
    assert not judge(path, node("/dev/x", EntryType.CHARACTER, 0o666, device), b"", ()).allowed
    assert not judge(path, node("/dev/x", EntryType.BLOCK, 0o666, device), b"", ()).allowed
    assert judge(path, node("/dev/x", EntryType.BLOCK, 0o666, device), b"", ("/dev/x",)).allowed


def test_harmless_devices() -> None:
    assert {device.name for device in DEVICES} == {"null", "zero", "full", "random", "urandom", "tty"}
    for device in DEVICES:
        found = node("/dev/" + device.name, EntryType.CHARACTER, 0o666, (device.major, device.minor))
        assert judge(found.path, found, b"", ()).allowed
    # A block device with the numbers of /dev/null is another thing altogether.
    assert not judge(JailPath("/dev/null"), node("/dev/null", EntryType.BLOCK, 0o666, (1, 3)), b"", ()).allowed


@pytest.mark.parametrize("bits", [0o4000, 0o2000, 0o6000])
def test_setid_bits(bits: int) -> None:
    path = JailPath("/usr/bin/su")
    assert judge(path, node(path, mode=bits | 0o755), b"", ()).mode == 0o755
    assert judge(path, node(path, mode=bits | 0o755), b"", ("/usr/bin/su",)).mode == bits | 0o755
    assert judge(path, node(path, EntryType.DIRECTORY, bits | 0o1755), b"", ()).mode == bits | 0o1755


@pytest.mark.parametrize(
    ("path", "start", "allow"),
    [
        ("/run/httpd.pid", b"123\n", False),
        ("/var/run/x/lock", b"  42", False),
        ("/srv/a.pid", b"7\n", False),
        ("/srv/a.pid", b"not a number\n", True),
        ("/run/motd", b"2 packages can be updated\n", True),
        ("/etc/debian_version", b"12\n", True),
    ],
)
def test_runtime_state(path: str, start: bytes, allow: bool) -> None:
    assert allowed(path, start) is allow


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ld.so.preload", "/var/run/nscd/socket", "/run/nscd/socket",
        "/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libc.so.6",
        "/lib/x86_64-linux-gnu/tls/libc.so.6", "/usr/lib/tls/haswell/libm.so.6", "/usr/lib/x86_64-linux-gnu/tls",
        "/usr/bin/pyvenv.cfg", "/usr/lib/ssl/ct_log_list.cnf", "/usr/share/locale/de/LC_MESSAGES/libc.mo", "/etc/fstab",
    ],
)
def test_harmless(path: str) -> None:
    assert harmless(path)


@pytest.mark.parametrize(
    "path",
    ["/etc/nginx/tls/site.crt", "/srv/tls", "/opt/x86_64/config", "/usr/lib/x86_64-linux-gnu/libfoo.so.1", "/etc/httpd.conf"],
)
def test_not_harmless(path: str) -> None:
    assert harmless(path) is None


def test_no_glob_has_another_sign_than_the_star() -> None:
    assert not [glob for glob, _ in (*SECRETS, *HARMLESS) if set(glob) & set("?[]")]


@pytest.mark.parametrize("change", ["", "x", "/x/y", "é", "\n"])
def test_a_path_gets_the_reason_of_the_first_glob_that_fits(change: str) -> None:
    for glob, _ in (*SECRETS, *HARMLESS):
        path = glob.replace("*", change)
        expected = next((reason for row, reason in HARMLESS if fnmatch.fnmatchcase(path, row)), None)
        assert harmless(path) == expected, path
        secret = next((reason for row, reason in SECRETS if fnmatch.fnmatchcase(path, row)), None)
        verdict = judge(JailPath(path), node(path), b"", ())
        assert (verdict.allowed, verdict.reason) == (secret is None, secret or "")
