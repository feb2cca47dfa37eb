"""The servers that keep a machine's time and its log."""

from __future__ import annotations

from .row import Row

_CHRONYC = "chronyc -n -h 127.0.0.1"

# A second chronyd is the client of the time: it asks, prints how far its clock is off, and sets nothing.
_CHRONY_CLIENT = f"""
{_CHRONYC} tracking | sed -n 's/^Reference ID *: /reference /p; s/^Stratum *: /stratum /p'
chronyd -Q -t 10 -f /dev/null 'port 0' 'cmdport 0' 'pidfile {{T}}/pid' 'server 127.0.0.1 iburst maxsamples 1' \\
    >{{T}}/time 2>&1
grep -o 'System clock wrong by' {{T}}/time || cat {{T}}/time
"""

# As its last act the client moves the log away, as a rotation does: after the signal there is a new one. It sends until it
# is there, since a server says nothing of when it has heeded a signal.
_RSYSLOG_CLIENT = """
log=$TRACEJAIL_ROOT/var/log
for time in 1 2 3 4 5 6 7 8 9 10; do
    number=$(date +%N)
    logger -u $TRACEJAIL_ROOT/dev/log -t tester -p mail.info "message $number"
    logger -u $TRACEJAIL_ROOT/dev/log -t tester -p auth.info "secret $number"
    logger -n 127.0.0.1 -P 514 -d -t tester -p user.notice "datagram $number"
    sleep 0.5
    grep -qs "datagram $number" $log/syslog && grep -qs "secret $number" $log/auth.log && break
done
for name in syslog mail.log auth.log user.log; do
    echo $name: $(grep -o "[a-z]* $number" $log/$name | sed 's/ .*//' | sort)
done
stat -c '%U %G %a' $log/syslog
mv $log/syslog $log/syslog.1
"""

ROWS = (
    Row(
        "chrony", ("chrony",), ("/usr/sbin/chronyd", "-d", "-x", "-F", "1"),
        unit="chrony", runtime="install -d -o _chrony -g _chrony -m 700 /run/chrony",
        prepare="""
printf 'local stratum 10\\nallow 127.0.0.1\\n' >/etc/chrony/conf.d/test.conf
echo 'DAEMON_OPTS="-F 1 -x"' >/etc/default/chrony
""",
        client=_CHRONY_CLIENT, ready=f"{_CHRONYC} tracking",
        expected="reference 7F7F0101 ()\nstratum 10\nSystem clock wrong by\n",
        reload="",
        held=("/etc/chrony/conf.d/test.conf", "/etc/chrony/chrony.keys"),
    ),
    Row(
        "rsyslog", ("rsyslog",), ("/usr/sbin/rsyslogd", "-n", "-iNONE"),
        unit="rsyslog",
        prepare="""
printf 'module(load="imudp")\\ninput(type="imudp" port="514" address="127.0.0.1")\\n' >/etc/rsyslog.d/test.conf
""",
        client=_RSYSLOG_CLIENT, ready="test -S $TRACEJAIL_ROOT/dev/log",
        expected="syslog: datagram message\nmail.log: message\nauth.log: secret\nuser.log: datagram\nroot adm 640\n",
        reload="", reopen="HUP",
        held=("/etc/rsyslog.d/test.conf",),
    ),
)
