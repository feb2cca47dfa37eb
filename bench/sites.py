"""The servers of the benchmark: their configuration in a folder, how they are started, and a client for each."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .process import Failed, run

POSTGRES = "/usr/lib/postgresql/15/bin"
READY = 20.0  # seconds
_LOOK = 0.002


@dataclass(frozen=True)
class Server:
    """A server on a loopback port, and a client for it."""

    name: str
    command: list[str]
    port: int
    client: str                     # shell; succeeds when the server does what it should
    stop: str = "TERM"
    user: str = ""


def answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something accepts connections. Raises Failed."""
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise Failed(f"it ended with status {process.returncode} before it served")
        time.sleep(_LOOK)
    raise Failed(f"it did not serve within {READY:.0f} s")


def apache_site(folder: Path) -> Server:
    """Debian's default site and its modules, with a port, logs and a run directory of its own."""
    top = folder / "apache2"
    shutil.copytree("/etc/apache2", top, symlinks=True)
    for name in ("run", "log"):
        (top / name).mkdir()
    own = {"RUN_DIR": f"{top}/run", "LOCK_DIR": f"{top}/run", "LOG_DIR": f"{top}/log", "PID_FILE": f"{top}/run/pid",
           "RUN_USER": "www-data", "RUN_GROUP": "www-data"}
    main = top / "apache2.conf"
    lines = [f"ServerRoot {top}", "ServerName localhost", *(f"Define APACHE_{name} {value}" for name, value in own.items())]
    main.write_text("\n".join(lines) + "\n" + main.read_text("utf-8"), "utf-8")
    (top / "ports.conf").write_text("Listen 127.0.0.1:18081\n")
    site = top / "sites-available/000-default.conf"
    site.write_text(site.read_text("utf-8").replace("*:80", "*:18081"), "utf-8")
    return Server("Apache", ["/usr/sbin/apache2", "-f", str(main), "-DFOREGROUND"], 18081,
                  "curl -fsS --noproxy '*' -o /dev/null http://127.0.0.1:18081/")


def nginx_site(folder: Path) -> Server:
    page = folder / "www/index.html"
    page.parent.mkdir()
    page.write_text("page\n" * 100)
    configuration = folder / "nginx.conf"
    temporary = "".join(f"{name}_temp_path {folder}/temp.{name}; " for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    configuration.write_text(
        f"daemon off; user www-data; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ include /etc/nginx/mime.types; access_log off; keepalive_requests 100000; {temporary}\n"
        f"client_body_temp_path {folder}/temp.body; server {{ listen 127.0.0.1:18080; root {folder}/www; }} }}\n"
    )
    return Server("nginx", ["/usr/sbin/nginx", "-c", str(configuration)], 18080,
                  "curl -fsS --noproxy '*' -o /dev/null http://127.0.0.1:18080/")


def redis_site(folder: Path) -> Server:
    configuration = folder / "redis.conf"
    configuration.write_text(f"bind 127.0.0.1\nport 18082\ndir {folder}\nsave \"\"\n")
    return Server("redis", ["/usr/bin/redis-server", str(configuration)], 18082, "redis-cli -p 18082 set a b | grep -q OK")


def postgres_site(folder: Path) -> Server:
    cluster = folder / "cluster"
    shutil.chown(folder, "postgres", "postgres")
    run(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", f"{POSTGRES}/initdb", "-D", str(cluster),
         "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8"]).checked()
    with (cluster / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write(f"listen_addresses = '127.0.0.1'\nport = 18083\nunix_socket_directories = '{folder}'\n")
    sql = "create temporary table t as select 1 as a; select a, now() at time zone 'Europe/Paris' from t"
    return Server("PostgreSQL", [f"{POSTGRES}/postgres", "-D", str(cluster)], 18083,
                  f'psql -X -q -At -U postgres -h 127.0.0.1 -p 18083 -v ON_ERROR_STOP=1 -c "{sql}" postgres >/dev/null',
                  stop="INT", user="postgres")


SITES: tuple[Callable[[Path], Server], ...] = (apache_site, nginx_site, redis_site, postgres_site)
