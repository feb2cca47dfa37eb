"""Names of users and groups in a jail: the same as on the host, and no account beside those that are used.

The host is a private one with accounts of its own, and some traps in its files of accounts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from private_host import PrivateHost
from real import Site, checked, entry_paths

_SET_UP = r"""
group=$(grep -v '^nogroup:' /etc/group)
passwd=$(cat /etc/passwd)
{ printf '%s\n' "$passwd" 'alice:x:4001:4001:Alice:/home/alice:/bin/sh' 'bob:x:4002:4002:Bob:/home/bob:/bin/sh'
  printf '%s\n' 'toor:x:0:0:again:/root:/bin/sh' 'carol:x:4003:4001:of the same group:/home/carol:/bin/sh'
  printf '%s\n' '+@netgroup::::::' '  short:x:4004:4004'
  printf '%s' 'last:x:4005:4005::/:/bin/sh'; } >/etc/passwd
{ printf '%s\n' "$group" 'alice:x:4001:' 'bob:x:4002:' 'writers:x:4100:bob,alice' 'readers:!:4101:bob,carol'
  printf 'many:x:4102:alice'; seq -f ',user%05.0f' 1 20000 | tr -d '\n'; echo
  printf '%s\n' '+:::' 'short:x:4004'; printf '%s' 'nogroup:x:65534:'; } >/etc/group
cp /etc/passwd /etc/passwd-
echo 'alice:100000:65536
bob:165536:65536' >/etc/subuid
password() { openssl passwd -6 -salt "$1" "$1's password"; }
for user in root alice bob carol; do
    sed -i "/^$user:/d" /etc/shadow
    echo "$user:$(password $user):19000:0:99999:7:::"
done >/etc/shadow.new
cat /etc/shadow.new >>/etc/shadow
rm /etc/shadow.new
mkdir -p /var/spool/names /srv/owned
for user in alice bob; do echo "daily work of $user" >/var/spool/names/$user; chown $user /var/spool/names/$user; done
for owner in alice:writers bob:many root:adm 4099:4999 short:nogroup; do
    touch /srv/owned/$owner; chown $owner /srv/owned/$owner; touch -d @1700000000 /srv/owned/$owner
done
"""

# What programs ask about accounts, one after the other as the arguments say; and a login by PAM.
_NAMES = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct pam_message { int style; const char *text; };
struct pam_response { char *text; int code; };
struct pam_conv { int (*talk)(int, const struct pam_message **, struct pam_response **, void *); void *data; };
int pam_start(const char *, const char *, const struct pam_conv *, void **);
int pam_authenticate(void *, int), pam_acct_mgmt(void *, int), pam_setcred(void *, int), pam_end(void *, int);

static int talk(int count, const struct pam_message **messages, struct pam_response **answers, void *password)
{
    *answers = calloc(count, sizeof **answers);
    for (int i = 0; i < count; i++)
        if (messages[i]->style == 1) (*answers)[i].text = strdup(password);
    return 0;
}

static void group(gid_t number)
{
    struct group *found = getgrgid(number);
    printf(" %u(%s)", number, found ? found->gr_name : "?");
}

static void groups(gid_t *list, int count)
{
    for (int i = 0; i < count; i++) group(list[i]);
    putchar('\n');
}

int main(int count, char **values)
{
    gid_t list[1000];
    for (int i = 1; i < count; i++) {
        char *what = strtok(values[i], ":"), *name = strtok(NULL, ":"), *more = strtok(NULL, ":");
        struct passwd *user;
        struct group *named;
        int size = 1000;
        if (!strcmp(what, "user")) {
            user = getpwnam(name);
            printf("%s: %d %s\n", name, user ? (int)user->pw_uid : -1, user ? user->pw_dir : "");
        } else if (!strcmp(what, "silent")) {
            getpwnam(name);
        } else if (!strcmp(what, "number")) {
            user = getpwuid(atoi(name));
            printf("%s: %s\n", name, user ? user->pw_name : "?");
        } else if (!strcmp(what, "members")) {
            named = getgrnam(name);
            printf("%s: %d, %s in it\n", name, named ? (int)named->gr_gid : -1, more);
            for (char **at = named ? named->gr_mem : NULL; at && *at; at++)
                if (!strcmp(*at, more)) puts("yes");
        } else if (!strcmp(what, "all-groups")) {
            user = getpwnam(name);
            if (!user || getgrouplist(name, user->pw_gid, list, &size) < 0) return 1;
            groups(list, size);
        } else if (!strcmp(what, "become")) {
            user = getpwnam(name);
            if (!user || initgroups(name, user->pw_gid) || setgid(user->pw_gid)) return 1;
            groups(list, getgroups(1000, list));
            if (setuid(user->pw_uid)) return 1;
        } else if (!strcmp(what, "spool")) {
            char path[100];
            struct stat seen;
            struct passwd *me = getpwuid(getuid());
            user = getpwnam(name);
            if (!me || !user) return 1;
            snprintf(path, sizeof path, "/var/spool/names/%s", user->pw_name);
            FILE *stream = fopen(path, "r");
            if (!stream || fstat(fileno(stream), &seen) || seen.st_uid != user->pw_uid) return 1;
            printf("%s for %s: %s", me->pw_name, name, fgets(path, sizeof path, stream));
        } else if (!strcmp(what, "login")) {
            void *handle;
            struct pam_conv conversation = { talk, more };
            if (pam_start("login", name, &conversation, &handle)) return 1;
            int failed = pam_authenticate(handle, 0);
            if (!failed) failed = pam_acct_mgmt(handle, 0) || pam_setcred(handle, 2);
            printf("login of %s: %s\n", name, failed ? "no" : "yes");
            pam_end(handle, failed);
            if (failed) return 1;
        }
    }
    return 0;
}
"""
_LOGIN = "alice's password"


@dataclass(frozen=True)
class Row:
    """A command, and all accounts that its jail is to know."""

    name: str
    words: tuple[str, ...]
    users: str
    groups: str
    options: tuple[str, ...] = ()
    user: str = ""             # for chroot(1), as -u said
    rounds: int = 2            # one more where it is an output that tells of the account


ROWS = (
    Row("id", ("id",), "root", "root"),
    Row("id of a user", ("id", "alice"), "alice root", "alice many root writers"),
    Row("id -Gn", ("id", "-Gn", "www-data"), "root www-data", "root www-data"),
    Row("id as a user", ("id",), "bob root", "bob readers root writers", ("-u", "bob"), "bob"),
    Row("whoami", ("whoami",), "root", "root"),
    Row("whoami as a user", ("whoami",), "last root", "root", ("-u", "last"), "last"),
    Row("ls -l", ("ls", "-l", "/srv/owned"), "alice bob root short", "adm alice bob many nogroup readers root short writers"),
    Row("a name", ("{D}/names", "user:short"), "root short", "root short"),
    Row("no output", ("{D}/names", "silent:carol"), "carol root", "alice readers root"),
    Row("a number", ("{D}/names", "number:4003"), "carol root", "alice readers root", rounds=3),
    Row("a member of a large group", ("{D}/names", "members:many:alice"), "alice root", "alice many root writers"),
    Row("no member", ("{D}/names", "members:readers:alice"), "alice root", "alice many readers root writers"),
    Row("list of groups", ("{D}/names", "all-groups:bob"), "bob root", "bob readers root writers"),
    Row("initgroups", ("{D}/names", "become:bob"), "bob root", "bob readers root writers"),
    Row("nobody", ("{D}/names", "user:mallory", "number:987654"), "root", "root"),
    Row("spool", ("{D}/names", "spool:alice", "spool:bob"), "alice bob root",
        "alice bob many readers root writers"),
    Row("login", ("{D}/names", f"login:alice:{_LOGIN}", "become:alice"), "alice root",
        "alice many root shadow writers", ("--allow", "/etc/shadow")),
    Row("su", ("su", "carol", "-c", "id"), "carol root", "alice readers root shadow", ("--allow", "/etc/shadow")),
)


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    private = PrivateHost()
    try:
        private.shell(_SET_UP)
        yield private
    finally:
        private.end()


def _learn(host: PrivateHost, site: Site, options: tuple[str, ...], words: list[str]) -> dict:  # type: ignore[type-arg]
    done = host.tracejail("learn", "--json", "-j", str(site.jail), *options, *words)
    result = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    told = {key: result.get(key) for key in ("reason", "ended", "missing", "denied", "notes", "rounds")}
    assert done.returncode == 0, f"exit {done.returncode}\n{json.dumps(told, indent=1)}\n{done.stderr[-4000:]}"
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    return {**manifest, "rounds": result["rounds"]}


def _program(site: Site) -> None:
    source = site.write("names.c", _NAMES)
    checked("gcc", "-O1", "-Wall", "-o", site.files / "names", source, "-l:libpam.so.0")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_same_names(site: Site, host: PrivateHost, row: Row) -> None:
    if "names" in row.words[0]:
        _program(site)
    words = site.fill_all(row.words)
    spec = []
    if row.user:
        number = host.shell(f"echo $(id -u {row.user}):$(id -g {row.user}) --groups=$(id -G {row.user} | tr ' ' ,)").strip()
        spec = [f"--userspec={number.split()[0]}", number.split()[1]]
    on_host = host.call(["chroot", *spec, "/", *words])
    assert on_host.returncode == 0, on_host.stdout + on_host.stderr
    manifest = _learn(host, site, row.options, words)
    mounts = "".join(f"mount -t {mount['type']} x {site.jail}{mount['path']}; " for mount in manifest["mounts"])
    in_jail = host.call(["unshare", "--mount", "sh", "-c", mounts + 'exec chroot "$@"', "-", *spec, str(site.jail), *words])
    assert (in_jail.returncode, in_jail.stdout) == (0, on_host.stdout), in_jail.stderr
    kept = manifest["accounts"]
    assert manifest["rounds"] <= row.rounds
    assert (kept.get("users"), kept.get("groups")) == (row.users.split(), row.groups.split())
    files = {name: (site.jail / "etc" / name) for name in ("passwd", "group", "shadow")}
    for name, key in (("passwd", "users"), ("group", "groups")):
        if files[name].exists():
            lines = files[name].read_text().splitlines()
            assert sorted(line.split(":")[0] for line in lines) == kept[key]
            assert len(lines) < 20 and max(map(len, lines)) < 200
    if files["shadow"].exists():
        assert files["shadow"].stat().st_mode & 0o7 == 0
        hashes = {line.split(":")[0]: line.split(":")[1] for line in files["shadow"].read_text().splitlines()}
        assert set(hashes) <= set(kept["users"])
        with_password = {user for user, password in hashes.items() if password != "*"}
        assert with_password == ({"alice"} if row.name == "login" else {"carol"}), hashes
    settings = site.jail / "etc/nsswitch.conf"
    if settings.exists():
        modules = {path.name for path in site.jail.rglob("libnss_*")}
        used = {word for line in settings.read_text().splitlines() if not line.startswith("#") for word in line.split()[1:]}
        assert used <= {"files", "dns"} | {name.split("_", 1)[1].split(".")[0] for name in modules}
        # The systemd module answered nothing; but a PAM module opens it by its path, if there is one.
        assert row.name in ("login", "su") or "libnss_systemd.so.2" not in modules


def test_a_wrong_password_is_wrong_in_the_jail(site: Site, host: PrivateHost) -> None:
    _program(site)
    words = [str(site.files / "names"), f"login:alice:{_LOGIN}"]
    _learn(host, site, ("--allow", "/etc/shadow"), words)
    for user, password, status in (("alice", _LOGIN, 0), ("alice", "none", 1), ("root", "root's password", 1), ("bob", "x", 1)):
        done = host.call(["chroot", str(site.jail), words[0], f"login:{user}:{password}"])
        assert done.returncode == status, (user, done.stdout, done.stderr)


def test_without_leave_there_is_no_shadow(site: Site, host: PrivateHost) -> None:
    manifest = _learn(host, site, (), ["cat", "/etc/passwd-", "/etc/subuid"])
    assert "/etc/shadow" not in entry_paths(manifest)
    text = (site.jail / "etc/passwd-").read_text() + (site.jail / "etc/subuid").read_text()
    assert "alice" in text  # its output shows all of them: then they are used
    assert "$6$" not in text


def test_another_root_in_the_jail_keeps_its_accounts(site: Site, host: PrivateHost) -> None:
    """A program that calls chroot(2) itself finds the accounts of that root, whatever those of the jail are."""
    root = site.files / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("inner:x:1:1::/:/bin/sh\n")
    (root / "etc/shadow").write_text("inner:$6$a$b:1::::::\n")
    manifest = _learn(host, site, (), ["cat", f"{root}/etc/passwd"])
    assert (Path(f"{site.jail}{root}") / "etc/passwd").read_text() == "inner:x:1:1::/:/bin/sh\n"
    assert manifest["accounts"]["users"] == ["root"]
    denied = host.tracejail("learn", "--json", "-j", f"{site.jail}2", "cat", f"{root}/etc/shadow")
    assert denied.returncode == 4, denied.stdout[:1000]


def test_nginx_has_no_others(site: Site, host: PrivateHost) -> None:
    host.shell("""
        rm -f /etc/nginx/sites-enabled/*
        echo 'server { listen 8000; root /srv/www; }' >/etc/nginx/conf.d/s.conf
        mkdir -p /srv/www; echo a page >/srv/www/index.html; chown -R www-data: /srv/www
    """)
    client = "curl -fsS --noproxy '*' http://127.0.0.1:8000/ | grep -q page"
    manifest = _learn(host, site, ("--exercise", client), ["nginx", "-g", "daemon off;"])
    # adm has its logs.
    assert (manifest["accounts"]["users"], manifest["accounts"]["groups"]) == (["root", "www-data"], ["adm", "root", "www-data"])
    assert manifest["rounds"] == 2
    assert [path for path in entry_paths(manifest) if "libnss" in path] == []
    assert (site.jail / "etc/group").read_text() == "root:x:0:\nadm:x:4:\nwww-data:x:33:\n"
