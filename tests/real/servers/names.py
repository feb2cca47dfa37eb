"""Name servers."""

from __future__ import annotations

from .row import Row

_DIG = "dig @127.0.0.1 +short +tries=1 +time=5"

# The client changes what the server serves as its last act: what it finds after the reload is what it wrote before. It
# waits for it, since a server says nothing of when a reload is done.
_GENERATION = f"""
for time in 1 2 3 4 5 6 7 8 9 10; do
    served=$({_DIG} generation.test $type)
    [ "$served" != "$written" ] || break
    sleep 0.5
done
[ -n "$written" ] && [ "$served" = "$written" ] && echo 'served as written' || echo "$served, not $written"
"""

_BIND_CLIENT = f"""
zone=$TRACEJAIL_ROOT/etc/bind/db.test
written=$(sed -n 's/^generation .* TXT //p' $zone)
type=txt{_GENERATION}
{_DIG} www.test
{_DIG} +tcp test mx
{_DIG} -x 127.0.0.1
dig @127.0.0.1 none.test +tries=1 | grep -o 'status: [A-Z]*'
serial=$(sed -n 's/.* SOA .* (\\([0-9]*\\) .*/\\1/p' $zone)
sed "s/($serial /($((serial + 1)) /; s/^\\(generation .* TXT \\).*/\\1\\"$((serial + 1))\\"/" $zone >{{T}}/zone
cat {{T}}/zone >$zone
"""

_UNBOUND_CLIENT = f"""
data=$TRACEJAIL_ROOT/etc/unbound/unbound.conf.d/test.conf
written=$(sed -n 's/.*generation.test TXT \\(.*\\).$/\\1/p' $data)
type=txt{_GENERATION}
{_DIG} www.test
{_DIG} +tcp -x 192.0.2.7
number=$(echo "$written" | tr -d '"')
sed "s/\\"$number\\"/\\"$((number + 1))\\"/" $data >{{T}}/data
cat {{T}}/data >$data
"""

_DNSMASQ_CLIENT = f"""
hosts=$TRACEJAIL_ROOT/etc/hosts
written=$(sed -n 's/ generation.test$//p' $hosts)
type=a{_GENERATION}
{_DIG} www.test
{_DIG} +tcp text.test txt
sed "s/^$written /192.0.2.$((${{written##*.}} + 1)) /" $hosts >{{T}}/hosts
cat {{T}}/hosts >$hosts
"""

ROWS = (
    Row(
        "bind", ("bind9", "bind9-dnsutils"), ("/usr/sbin/named", "-f", "-u", "bind"),
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
generation IN TXT "1"
END
""",
        client=_BIND_CLIENT, ready=f"{_DIG} www.test | grep -q 192.0.2.7",
        expected="served as written\n192.0.2.7\n10 mail.test.\nlocalhost.\nstatus: NXDOMAIN\n",
        held=("/etc/bind/db.test", "/etc/bind/db.127"),
    ),
    Row(
        "unbound", ("unbound", "bind9-dnsutils"), ("/usr/sbin/unbound", "-d", "-p"),
        prepare="""
/usr/libexec/unbound-helper root_trust_anchor_update
cat >/etc/unbound/unbound.conf.d/test.conf <<'END'
server:
    local-zone: "test." static
    local-data: "www.test A 192.0.2.7"
    local-data-ptr: "192.0.2.7 www.test"
    local-data: 'generation.test TXT "1"'
END
""",
        client=_UNBOUND_CLIENT, ready=f"{_DIG} www.test | grep -q 192.0.2.7",
        expected="served as written\n192.0.2.7\nwww.test.\n",
        held=("/etc/unbound/unbound.conf.d/root-auto-trust-anchor-file.conf", "/var/lib/unbound/root.key"),
    ),
    Row(
        "dnsmasq", ("dnsmasq", "bind9-dnsutils"),
        ("/usr/sbin/dnsmasq", "-k", "-u", "dnsmasq", "-7", "/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new", "--local-service"),
        prepare="""
printf 'txt-record=text.test,from dnsmasq\\n' >/etc/dnsmasq.d/test
printf '127.0.0.1 localhost\\n192.0.2.7 www.test\\n192.0.2.101 generation.test\\n' >/etc/hosts
chmod 644 /etc/hosts
""",
        client=_DNSMASQ_CLIENT, ready=f"{_DIG} www.test | grep -q 192.0.2.7",
        expected='served as written\n192.0.2.7\n"from dnsmasq"\n',
        held=("/etc/dnsmasq.d/test", "/etc/hosts"),
    ),
)
