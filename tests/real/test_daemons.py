"""Real daemons with a real client as the exercise: learned, then served again from the plain jail."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from real import ENVIRONMENT, Site, call, certificate, checked, entry_paths, jailed, learn, process, tracejail, until

POSTGRES = "/usr/lib/postgresql/15/bin"


@dataclass(frozen=True)
class Row:
    """A daemon, its client (shell lines; $TRACEJAIL_ROOT is the jail) and what the client prints."""

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Site], object]
    client: str
    expected: str
    ready: str                      # a shell command that succeeds when the daemon serves
    options: tuple[str, ...] = ()
    user: str = ""
    held: tuple[str, ...] = ()      # paths that the jail must hold
    kept_out: tuple[str, ...] = ()  # and what it must not
    first_differs: str = ""         # why the first who asks for a path is not the same one in each run


def _port(number: int) -> str:
    return f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{number}'"


# --- Apache ---------------------------------------------------------------------------------------------------------

_MODULES = ("mpm_event", "authz_core", "mime", "dir", "alias", "cgid")


def _apache(site: Site) -> None:
    d = site.files
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _MODULES)
    site.write(
        "apache2.conf",
        f"{modules}ServerRoot {d}\nServerName localhost\nListen 127.0.0.1:8080\nPidFile {d}/run/apache2.pid\n"
        f"User www-data\nGroup www-data\nErrorLog {d}/log/error.log\nScriptSock {d}/run/cgisock\n"
        f"TypesConfig /etc/mime.types\n<Directory {d}>\nRequire all granted\n</Directory>\n"
        f"IncludeOptional {d}/sites/*.conf\nIncludeOptional {d}/none/*.conf\n",
    )
    for name in ("one", "two"):
        site.write(
            f"sites/{name}.conf",
            f"<VirtualHost *:8080>\nServerName {name}.example\nDocumentRoot {d}/www/{name}\n"
            f"ScriptAlias /cgi/ {d}/cgi/\nDirectoryIndex index.html\n</VirtualHost>\n",
        )
        site.write(f"www/{name}/index.html", f"this is {name}\n")
    site.write("www/two/never-asked.html", "nobody asks\n")
    site.write("cgi/hello", '#!/bin/sh\necho "Content-Type: text/plain"\necho\necho "cgi: $QUERY_STRING"\nid -un\n', 0o755)
    (d / "run").mkdir()
    (d / "log").mkdir()


_ASK = "curl -sS --noproxy '*'"
_APACHE_CLIENT = f"""
{_ASK} -H 'Host: one.example' http://127.0.0.1:8080/
{_ASK} -H 'Host: two.example' http://127.0.0.1:8080/index.html
{_ASK} 'http://127.0.0.1:8080/cgi/hello?x=1'
{_ASK} -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1:8080/none
"""

# --- nginx ----------------------------------------------------------------------------------------------------------


def _nginx(site: Site) -> None:
    d = site.files
    certificate(site)
    site.write(
        "nginx.conf",
        f"daemon off; user www-data; worker_processes 1; pid {d}/run/nginx.pid; error_log {d}/log/error.log;\n"
        "events { worker_connections 64; }\n"
        f"http {{ include /etc/nginx/mime.types; access_log {d}/log/access.log;\n"
        f"  client_body_temp_path {d}/run/body; proxy_temp_path {d}/run/proxy; fastcgi_temp_path {d}/run/fastcgi;\n"
        f"  uwsgi_temp_path {d}/run/uwsgi; scgi_temp_path {d}/run/scgi;\n"
        f"  server {{ listen 127.0.0.1:8443 ssl; root {d}/www;\n"
        f"    ssl_certificate {d}/tls/server.pem; ssl_certificate_key {d}/tls/server.key; }} }}\n",
    )
    site.write("www/index.html", "hello from nginx\n")
    (d / "run").mkdir()
    (d / "log").mkdir()


_NGINX_CLIENT = f"""
{_ASK} --cacert {{D}}/tls/ca.pem https://127.0.0.1:8443/
{_ASK} --cacert {{D}}/tls/ca.pem -o /dev/null -w '%{{http_code}}\\n' https://127.0.0.1:8443/none
"""

# --- redis, http.server ---------------------------------------------------------------------------------------------


def _redis(site: Site) -> None:
    d = site.files
    (d / "data").mkdir()
    site.write("redis.conf", f"bind 127.0.0.1\nport 6380\nunixsocket {d}/data/sock\ndir {d}/data\nsave ''\n".replace("''", '""'))


_REDIS_CLIENT = """
redis-cli -p 6380 set key value
redis-cli -p 6380 get key
redis-cli -s $TRACEJAIL_ROOT{D}/data/sock save
redis-cli -s $TRACEJAIL_ROOT{D}/data/sock eval 'return redis.call("get", "key") .. "!"' 0
"""


def _pages(site: Site) -> None:
    site.write("www/a.txt", "page a\n")
    site.write("www/b.html", "<p>page b</p>\n")


_PAGES_CLIENT = f"""
{_ASK} http://127.0.0.1:8000/a.txt
{_ASK} http://127.0.0.1:8000/b.html
{_ASK} -o /dev/null -w '%{{content_type}}\\n' http://127.0.0.1:8000/b.html
"""

# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _postgres(site: Site) -> None:
    d = site.files
    shutil.chown(d, "postgres", "postgres")
    checked(
        "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", f"{POSTGRES}/initdb", "-D", d / "cluster",
        "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8",
    )
    with (d / "cluster/postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write(f"listen_addresses = '127.0.0.1'\nport = 5444\nunix_socket_directories = '{d}'\n")


_SQL = "psql -X -q -At -U postgres -h 127.0.0.1 -p 5444 -v ON_ERROR_STOP=1 postgres"
_POSTGRES_CLIENT = f"""
{_SQL} -c 'create table t (a int primary key, b text)' \\
  -c "insert into t values (1, 'one'), (2, 'two')" -c 'select * from t order by a'
{_SQL} -c "select timestamptz '2024-07-01 12:00+00' at time zone 'Europe/Paris'"
"""

# --- sshd -----------------------------------------------------------------------------------------------------------


def _sshd(site: Site) -> None:
    d = site.files
    for name in ("host", "user"):
        checked("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", d / name)
    shutil.copy(d / "user.pub", d / "authorized")
    (d / "authorized").chmod(0o600)
    site.write(
        "sshd_config",
        f"Port 2222\nListenAddress 127.0.0.1\nHostKey {d}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {d}/authorized\nPasswordAuthentication no\nPermitRootLogin yes\nPrintMotd no\n"
        "Subsystem sftp internal-sftp\n",
    )
    key = (d / "host.pub").read_text("ascii").rpartition(" ")[0]
    site.write("known", f"[127.0.0.1]:2222 {key}\n")


_SSHD_CLIENT = (
    "ssh -F none -i {D}/user -o UserKnownHostsFile={D}/known -o StrictHostKeyChecking=yes -o BatchMode=yes -p 2222 "
    "root@127.0.0.1 'echo logged in as $USER; pwd; exit 5'; echo $?\n"
)

# --- vsftpd ---------------------------------------------------------------------------------------------------------


def _vsftpd(site: Site) -> None:
    d = site.files
    site.write("pub/file.txt", "by ftp\n")
    (d / "empty").mkdir()
    site.write(
        "vsftpd.conf",
        f"listen=YES\nlisten_port=2121\nlisten_address=127.0.0.1\nbackground=NO\nanonymous_enable=YES\n"
        f"anon_root={d}/pub\nno_anon_password=YES\nsecure_chroot_dir={d}/empty\nxferlog_enable=NO\n"
        "pasv_min_port=30000\npasv_max_port=30000\nseccomp_sandbox=NO\n",
    )


_VSFTPD_CLIENT = f"""
{_ASK} ftp://127.0.0.1:2121/file.txt
{_ASK} -l ftp://127.0.0.1:2121/
"""

ROWS = (
    Row("apache2", ("/usr/sbin/apache2", "-f", "{D}/apache2.conf", "-DFOREGROUND"), _apache, _APACHE_CLIENT,
        "this is one\nthis is two\ncgi: x=1\nwww-data\n404\n", _port(8080),
        held=("{D}/sites/one.conf", "{D}/sites/two.conf", "/usr/bin/id"), kept_out=("{D}/www/two/never-asked.html",),
        first_differs="cgid's process makes its socket where the first process writes its pid file"),
    Row("nginx", ("/usr/sbin/nginx", "-c", "{D}/nginx.conf"), _nginx, _NGINX_CLIENT, "hello from nginx\n404\n",
        _port(8443), options=("--allow", "{D}/tls/server.key"), kept_out=("{D}/tls/ca.key",)),
    Row("redis", ("/usr/bin/redis-server", "{D}/redis.conf"), _redis, _REDIS_CLIENT,
        "OK\nvalue\nOK\nvalue!\n", _port(6380)),
    Row("postgresql", (f"{POSTGRES}/postgres", "-D", "{D}/cluster"), _postgres, _POSTGRES_CLIENT,
        "1|one\n2|two\n2024-07-01 14:00:00\n", f"{_SQL} -c 'select 1'", options=("--stop", "INT"), user="postgres"),
    Row("sshd", ("/usr/sbin/sshd", "-D", "-e", "-f", "{D}/sshd_config"), _sshd, _SSHD_CLIENT,
        "logged in as root\n/root\n5\n", _port(2222), options=("--allow", "{D}/host", "--allow", "/etc/shadow"),
        kept_out=("{D}/user",)),
    Row("http.server", ("/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "-d", "{D}/www", "8000"), _pages,
        _PAGES_CLIENT, "page a\n<p>page b</p>\ntext/html\n", _port(8000)),
    Row("vsftpd", ("/usr/sbin/vsftpd", "{D}/vsftpd.conf"), _vsftpd, _VSFTPD_CLIENT, "by ftp\nfile.txt\n", _port(2121)),
)


@pytest.fixture
def privilege_separation() -> Iterator[None]:
    """The directory that sshd's unit makes when the service starts."""
    at = Path("/run/sshd")
    if at.exists():
        yield
        return
    at.mkdir(0o755)
    try:
        yield
    finally:
        at.rmdir()


def _in_its_network(process_id: int, command: str, root: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nsenter", f"--net=/proc/{process_id}/ns/net", "/bin/sh", "-c", command], cwd="/",
        env={**ENVIRONMENT, "TRACEJAIL_ROOT": root}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )


def _exercise(site: Site, row: Row) -> str:
    """The client as an exercise: it fails where it does not print what is expected."""
    client, wanted = site.top / "client", site.top / "expected"
    client.write_text(site.fill(row.client), "utf-8")
    wanted.write_text(row.expected, "utf-8")
    return f"sh {client} >{site.top}/said 2>&1; cmp {site.top}/said {wanted} || {{ cat {site.top}/said; exit 1; }}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_daemon(site: Site, row: Row, privilege_separation: None) -> None:
    site.fresh(row.prepare)  # type: ignore[arg-type]
    words = site.fill_all(row.words)
    user = ["-u", row.user] if row.user else []
    exercise = _exercise(site, row)
    manifest = learn(site, *user, *site.fill_all(row.options), "--exercise", exercise, *words)
    paths = set(entry_paths(manifest))
    assert set(site.fill_all(row.held)) <= paths
    assert not set(site.fill_all(row.kept_out)) & paths
    log = site.top / "log"
    command = jailed(site, manifest, words, row.user, network=True)
    with process(command, log) as daemon:
        until(
            lambda: _in_its_network(daemon.pid, row.ready, str(site.jail)).returncode == 0 or daemon.poll() is not None,
            f"{row.name} serves", 20,
        )
        done = _in_its_network(daemon.pid, site.fill(row.client), str(site.jail))
        assert done.stdout == row.expected, done.stderr + log.read_text("utf-8", "replace")
    assert manifest["rounds"] == 2


def test_password_hashes_are_asked_for_by_name(site: Site) -> None:
    words = ["/usr/bin/perl", "-e", "open F, '<', '/etc/shadow' or exit 1; print scalar(() = <F>) > 0"]
    done = tracejail("learn", "-j", str(site.jail), *words)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--allow /etc/shadow" in done.stdout
    assert not os.path.lexists(site.jail / "etc/shadow")
    allowed = tracejail("learn", "-j", str(site.jail), "--replace", "--allow", "/etc/shadow", *words)
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    assert (site.jail / "etc/shadow").exists()


def test_sshd_checks_its_configuration(site: Site, privilege_separation: None) -> None:
    site.fresh(_sshd)  # type: ignore[arg-type]
    words = ["/usr/sbin/sshd", "-T", "-f", f"{site.files}/sshd_config"]
    hosted = call(words)
    assert hosted.returncode == 0, hosted.stderr
    denied = tracejail("learn", "-j", str(site.jail), *words)
    assert denied.returncode == 4, denied.stdout + denied.stderr  # the key is not let in by itself
    assert f"--allow {site.files}/host" in denied.stdout + denied.stderr
    assert not os.path.lexists(f"{site.jail}{site.files}/host")
    manifest = learn(site, "--replace", "--allow", f"{site.files}/host", *words)
    assert manifest["rounds"] <= 3  # that it looks up the account sshd is seen only in the second
    key = site.jail / str(site.files / "host").lstrip("/")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    done = call(jailed(site, manifest, words))
    assert (done.stdout, done.returncode) == (hosted.stdout, 0), done.stderr
