"""Servers that keep data: each is asked to write, to read back, to refuse, and to forget again."""

from __future__ import annotations

from .row import Row

_REDIS = "redis-cli -h 127.0.0.1"

ROWS = (
    # As redis-server.service starts it.
    Row(
        "redis", ("redis-server", "redis-tools"),
        ("/usr/bin/redis-server", "/etc/redis/redis.conf", "--supervised", "systemd", "--daemonize", "no"),
        unit="redis-server", runtime="install -d -o redis -g redis -m 2755 /run/redis",
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
    # As pg_ctlcluster starts it, for the cluster that the package makes.
    Row(
        "postgresql", ("postgresql-15", "postgresql-client-15"),
        ("/usr/lib/postgresql/15/bin/postgres", "-D", "/var/lib/postgresql/15/main", "-c",
         "config_file=/etc/postgresql/15/main/postgresql.conf"),
        unit="postgresql@15-main",
        prepare="""
install -d -o postgres -g postgres -m 2775 /run/postgresql
make-ssl-cert generate-default-snakeoil
sed -i 's/^ssl = off/ssl = on/' /etc/postgresql/15/main/postgresql.conf
""",
        # By the socket first: who calls there is who he is (pg_hba.conf, "peer"). Only root may name another's root
        # directory, everybody his own working directory. Then by TCP, with a password and TLS.
        client="""
user="setpriv --reuid postgres --regid postgres --init-groups"
peer() { (cd $TRACEJAIL_ROOT/run/postgresql; $user psql -qtAX -h /proc/self/cwd "$@" 2>/dev/null); }
peer -c "create role app login password 'secret'" -c 'create database app owner app'
network() { PGPASSWORD=$1 PGSSLMODE=require psql -qtAX -h 127.0.0.1 -U app app -c "$2" 2>&1; }
network secret "create table note (number serial primary key, said text, at timestamptz default now())"
network secret "insert into note (said) values ('hello from postgresql'), ('straße')"
network secret "select said from note order by said collate \\"de-x-icu\\""
network secret "select upper('straße' collate \\"de-x-icu\\")"
network secret "select extract(hour from timestamptz '2024-07-01 12:00 Europe/Berlin' at time zone 'UTC')"
network secret 'select * from none' | head -n 1
network wrong 'select 1' | sed 's/.*FATAL/FATAL/' | head -n 1
network secret 'do $$ begin raise notice $n$from a block$n$; end $$'
peer -c 'drop database app' -c 'drop role app'
""",
        expected="""hello from postgresql
straße
STRASSE
10
ERROR:  relation "none" does not exist
FATAL:  password authentication failed for user "app"
NOTICE:  from a block
""",
        stop="INT", user="postgres", options=("--allow", "/etc/ssl/private/ssl-cert-snakeoil.key"),
        held=("/etc/postgresql/15/main/pg_hba.conf", "/usr/lib/postgresql/15/lib/plpgsql.so"),
        kept_out=("/usr/bin/psql",),
    ),
    # As mariadb.service starts it.
    Row(
        "mariadb", ("mariadb-server", "mariadb-client"), ("/usr/sbin/mariadbd",), unit="mariadb",
        prepare="install -d -o mysql -g root -m 755 /run/mysqld",
        # By the socket first, where root is who is root (unix_socket), then by TCP with a password.
        client="""
owner() { mariadb --no-defaults --default-character-set=utf8mb4 -N --socket=$TRACEJAIL_ROOT/run/mysqld/mysqld.sock -e "$1" 2>&1; }
network() { mariadb --no-defaults --default-character-set=utf8mb4 -N -h 127.0.0.1 -u app -p$1 app -e "$2" 2>&1; }
owner "create database app; grant all on app.* to app@localhost identified by 'secret'"
network secret "create table note (number int auto_increment primary key, said text, fulltext (said)) engine=InnoDB"
network secret "insert into note (said) values ('hello from mariadb'), ('straße')"
network secret "select said from note where match (said) against ('hello')"
network secret "select 'straße' = 'STRASSE' collate utf8mb4_unicode_ci, convert_tz('2024-07-01 12:00', '+02:00', '+00:00')"
network secret "create table other (number int) engine=Aria; insert into other values (1), (2); select sum(number) from other"
network secret 'select * from none' | grep ERROR
network wrong 'select 1' | cut -d: -f1
owner "select plugin_name from information_schema.plugins where plugin_name = 'unix_socket'"
owner 'drop database app; drop user app@localhost'
""",
        expected="""hello from mariadb
1	2024-07-01 10:00:00
3
ERROR 1146 (42S02) at line 1: Table 'app.none' doesn't exist
ERROR 1045 (28000)
unix_socket
""",
        reload="command:mariadb-admin --no-defaults --socket=$TRACEJAIL_ROOT/run/mysqld/mysqld.sock reload", user="mysql",
        held=("/etc/mysql/mariadb.conf.d/50-server.cnf", "/var/lib/mysql/ibdata1"),
        kept_out=("/etc/mysql/debian.cnf", "/usr/bin/mariadb"),
    ),
    # As its unit's wrapper starts it, with the words of /etc/memcached.conf.
    Row(
        "memcached", ("memcached",),
        ("/usr/bin/memcached", "-m", "64", "-p", "11211", "-u", "memcache", "-l", "127.0.0.1", "-P",
         "/var/run/memcached/memcached.pid"),
        unit="memcached",
        prepare="install -d -o memcache -g memcache /run/memcached",
        client="""
lines() { for line in "$@" quit; do printf '%s\\r\\n' "$line"; done; }
say() { lines "$@" | curl -sS telnet://127.0.0.1:11211 | tr -d '\\r'; }
say 'set greeting 0 60 20' 'hello from memcached' 'get greeting' 'incr greeting 1' 'delete greeting' 'get greeting' 'nonsense'
cat $TRACEJAIL_ROOT/run/memcached/memcached.pid >/dev/null && echo 'has a pid file'
""",
        expected="STORED\nVALUE greeting 0 20\nhello from memcached\nEND\n"
                 "CLIENT_ERROR cannot increment or decrement non-numeric value\nDELETED\nEND\nERROR\nhas a pid file\n",
    ),
    # As /etc/init.d/slapd starts it, but in the foreground: -d keeps it there, at debug level 0.
    Row(
        "slapd", ("slapd", "ldap-utils"),
        ("/usr/sbin/slapd", "-h", "ldap:/// ldapi:///", "-g", "openldap", "-u", "openldap", "-F", "/etc/ldap/slapd.d", "-d", "0"),
        prepare="install -d -o openldap -g openldap /run/slapd",
        # By the socket first, where root may change the configuration; then by TCP, with the new password.
        client="""
socket=ldapi://$(echo $TRACEJAIL_ROOT/run/slapd/ldapi | sed s,/,%2F,g)
cat >$0.root <<-END
    dn: olcDatabase={1}mdb,cn=config
    changetype: modify
    replace: olcRootPW
    olcRootPW: secret
END
cat >$0.people <<-END
    dn: ou=people,dc=nodomain
    objectClass: organizationalUnit

    dn: uid=ada,ou=people,dc=nodomain
    objectClass: inetOrgPerson
    cn: Ada
    sn: Lovelace
    mail: ada@example.org
    userPassword: hers
END
sed -i 's/^ *//' $0.root $0.people
admin="-x -H ldap://127.0.0.1 -D cn=admin,dc=nodomain -w secret"
ldapmodify -Q -Y EXTERNAL -H $socket -f $0.root
ldapadd $admin -f $0.people
ldapsearch -x -LLL -H ldap://127.0.0.1 -b dc=nodomain '(cn=ad*)' mail
ldapwhoami -x -H ldap://127.0.0.1 -D uid=ada,ou=people,dc=nodomain -w hers
ldapwhoami -x -H ldap://127.0.0.1 -D uid=ada,ou=people,dc=nodomain -w wrong
ldapsearch -x -LLL -H ldap://127.0.0.1 -b dc=none
ldapdelete $admin -r ou=people,dc=nodomain
""",
        expected="""modifying entry "olcDatabase={1}mdb,cn=config"

adding new entry "ou=people,dc=nodomain"

adding new entry "uid=ada,ou=people,dc=nodomain"

dn: uid=ada,ou=people,dc=nodomain
mail: ada@example.org

dn:uid=ada,ou=people,dc=nodomain
ldap_bind: Invalid credentials (49)
No such object (32)
""",
        reload="", held=("/etc/ldap/slapd.d/cn=config/olcDatabase={1}mdb.ldif", "/var/lib/ldap/data.mdb"),
        kept_out=("/usr/bin/ldapsearch",),
    ),
)
