"""Servers that keep data: each is asked to write, to read back, to refuse, and to forget again."""

from __future__ import annotations

from .row import Row

_REDIS = "redis-cli -h 127.0.0.1"

ROWS = (
    # As redis-server.service starts it.
    Row(
        "redis", ("redis-server", "redis-tools"),
        ("/usr/bin/redis-server", "/etc/redis/redis.conf", "--supervised", "systemd", "--daemonize", "no"),
        prepare="install -d -o redis -g redis -m 2755 /run/redis",
        client=f"""
{_REDIS} set greeting 'hello from redis'
{_REDIS} get greeting
{_REDIS} rpush list one two three >/dev/null
{_REDIS} lrange list 1 -1
{_REDIS} eval 'return redis.call("llen", KEYS[1]) * 2' 1 list
{_REDIS} hget greeting field
{_REDIS} save
test -s $TRACEJAIL_ROOT/var/lib/redis/dump.rdb && echo dumped
{_REDIS} del greeting list
""",
        expected="OK\nhello from redis\ntwo\nthree\n6\n"
                 "WRONGTYPE Operation against a key holding the wrong kind of value\n\nOK\ndumped\n2\n",
        reload="", user="redis",
        held=("/etc/redis/redis.conf", "/var/lib/redis", "/var/log/redis"),
        kept_out=("/var/lib/redis/dump.rdb",),
    ),
)
