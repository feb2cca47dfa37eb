"""Name servers."""

from __future__ import annotations

from .generation import served_as_written, written_anew
from .row import Row

_DIG = "dig @127.0.0.1 +short +tries=1 +time=5"

_BIND_CLIENT = f"""
{served_as_written("/etc/bind/db.test", f"{_DIG} generation.test txt")}
{_DIG} www.test
{_DIG} +tcp test mx
{_DIG} -x 127.0.0.1
dig @127.0.0.1 none.test +tries=1 | grep -o 'status: [A-Z]*'
rndc status | grep -o 'server is up'
{written_anew()}
sed "s/($number /($((number + 1)) /" $generations >{{T}}/generations
cat {{T}}/generations >$generations
"""

_UNBOUND_CLIENT = f"""
{served_as_written("/etc/unbound/unbound.conf.d/test.conf", f"{_DIG} generation.test txt")}
{_DIG} www.test
{_DIG} +tcp -x 192.0.2.7
{written_anew()}
"""

_DNSMASQ_CLIENT = f"""
{served_as_written("/etc/hosts", f"{_DIG} generation.test", "192[.]0[.]2[.]1[0-9]*")}
{_DIG} www.test
{_DIG} +tcp text.test txt
{written_anew()}
"""

ROWS = (
    Row(
        "bind", ("bind9", "bind9-dnsutils"), ("/usr/sbin/named", "-f", "-u", "bind"),
        unit="named",
        prepare="""
install -d -o root -g bind -m 775 /run/named
cat >>/etc/bind/named.conf.local <<'END'
zone "test" { type primary; file "/etc/bind/db.test"; };
END
cat >/etc/bind/db.test <<'END'
$TTL 60
@ IN SOA ns.test. root.test. (1 3600 600 86400 60)
@ IN NS ns.test.
@ IN MX 10 mail.test.
ns IN A 192.0.2.1
mail IN A 192.0.2.2
www IN A 192.0.2.7
generation IN TXT "generation-1"
END
""",
        client=_BIND_CLIENT, ready=f"{_DIG} www.test | grep -q 192.0.2.7",
        expected="served as written\n192.0.2.7\n10 mail.test.\nlocalhost.\nstatus: NXDOMAIN\nserver is up\n",
        held=("/etc/bind/db.test", "/etc/bind/db.127", "/etc/bind/rndc.key"),
    ),
    Row(
        "unbound", ("unbound", "bind9-dnsutils"), ("/usr/sbin/unbound", "-d", "-p"),
        unit="unbound",
        prepare="""
/usr/libexec/unbound-helper root_trust_anchor_update
cat >/etc/unbound/unbound.conf.d/test.conf <<'END'
server:
    local-zone: "test." static
    local-data: "www.test A 192.0.2.7"
    local-data-ptr: "192.0.2.7 www.test"
    local-data: 'generation.test TXT "generation-1"'
END
""",
        client=_UNBOUND_CLIENT, ready=f"{_DIG} www.test | grep -q 192.0.2.7",
        expected="served as written\n192.0.2.7\nwww.test.\n",
        held=("/etc/unbound/unbound.conf.d/root-auto-trust-anchor-file.conf", "/var/lib/unbound/root.key"),
    ),
    Row(
        "dnsmasq", ("dnsmasq", "bind9-dnsutils"),
        ("/usr/sbin/dnsmasq", "-k", "-u", "dnsmasq", "-7", "/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new", "--local-service"),
        unit="dnsmasq",
        prepare="""
printf 'txt-record=text.test,from dnsmasq\\n' >/etc/dnsmasq.d/test
printf '192.0.2.7 www.test\\n192.0.2.101 generation.test\\n' >>/etc/hosts
""",
        client=_DNSMASQ_CLIENT, ready=f"{_DIG} www.test | grep -q 192.0.2.7",
        expected='served as written\n192.0.2.7\n"from dnsmasq"\n',
        held=("/etc/dnsmasq.d/test", "/etc/hosts"),
    ),
)
