"""Web servers and what stands before and behind them."""

from __future__ import annotations

from .row import Row

# What /etc/apache2/envvars exports.
_APACHE = (
    "APACHE_RUN_USER=www-data", "APACHE_RUN_GROUP=www-data", "APACHE_PID_FILE=/var/run/apache2/apache2.pid",
    "APACHE_RUN_DIR=/var/run/apache2", "APACHE_LOCK_DIR=/var/lock/apache2", "APACHE_LOG_DIR=/var/log/apache2", "LANG=C",
)
_ASK = "curl -sS --noproxy '*'"

ROWS = (
    Row(
        "nginx", ("nginx-light", "openssl"), ("/usr/sbin/nginx", "-g", "daemon off;"),
        unit="nginx",
        prepare="""
mkdir /etc/nginx/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
    -keyout /etc/nginx/tls/key.pem -out /etc/nginx/tls/certificate.pem 2>/dev/null
cat >/etc/nginx/sites-enabled/secure <<-'END'
    server { listen 127.0.0.1:443 ssl; root /var/www/html; ssl_certificate tls/certificate.pem;
             ssl_certificate_key tls/key.pem; }
END
echo 'hello from nginx' >/var/www/html/page.txt
cp /etc/nginx/tls/certificate.pem {T}/
""",
        client=f"""
{_ASK} http://127.0.0.1/page.txt
{_ASK} --cacert {{T}}/certificate.pem https://localhost/page.txt
{_ASK} -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1/none
""",
        expected="hello from nginx\nhello from nginx\n404\n",
        options=("--allow", "/etc/nginx/tls/key.pem"),
        reopen="USR1", held=("/etc/nginx/sites-enabled/default", "/etc/nginx/sites-enabled/secure"),
    ),
    # As php8.2-fpm.service starts it.
    Row(
        "php-fpm", ("php8.2-fpm", "libfcgi-bin"),
        ("/usr/sbin/php-fpm8.2", "--nodaemonize", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf"),
        unit="php8.2-fpm",
        prepare="""
install -d -o www-data -g www-data /run/php
cat >/var/www/html/hello.php <<'END'
<?php
require __DIR__ . '/greet.inc';
session_start();
$_SESSION['times'] = ($_SESSION['times'] ?? 0) + 1;
echo greet(mb_strtoupper($_GET['who'])), ' ', json_encode([$_SESSION['times'], posix_getpwuid(posix_geteuid())['name']]), "\\n";
echo date_create('2024-07-01 12:00', timezone_open('Europe/Berlin'))->getTimestamp(), "\\n";
END
cat >/var/www/html/greet.inc <<'END'
<?php
function greet(string $who): string { return "hello $who from php"; }
END
echo '<?php none();' >/var/www/html/broken.php
""",
        client="""
ask() {
    env -i PATH=$PATH REQUEST_METHOD=GET SCRIPT_NAME=/$1 SCRIPT_FILENAME=/var/www/html/$1 QUERY_STRING=$2 HTTP_COOKIE=$3 \\
        cgi-fcgi -bind -connect $TRACEJAIL_ROOT/run/php/php8.2-fpm.sock 2>&1 | tr -d '\\r'
}
ask hello.php who=straße PHPSESSID=exercise$$ | sed '1,/^$/d'
ask hello.php who=you PHPSESSID=exercise$$ | sed '1,/^$/d'
ask broken.php | grep -o -e 'Status: .*' -e 'undefined function .*()'
ask none.php | grep -o 'Status: .*'
""",
        expected="""hello STRASSE from php [1,"www-data"]
1719828000
hello YOU from php [2,"www-data"]
1719828000
undefined function none()
Status: 500 Internal Server Error
Status: 404 Not Found
""",
        reload="USR2", reopen="USR1", held=("/var/www/html/greet.inc", "/etc/php/8.2/fpm/pool.d/www.conf"),
    ),
    # As apachectl starts it in the foreground, with what packages bring: their modules, their sites, their hook to PHP.
    # PHP-FPM stays outside, with its packaged pool, whose socket is in the jail: so did an administrator who had it there.
    Row(
        "apache2", ("apache2", "php8.2-fpm", "ssl-cert"), ("/usr/sbin/apache2", "-DFOREGROUND"),
        unit="apache2", runtime="install -d /run/apache2; install -d -o www-data /run/apache2/socks /run/lock/apache2",
        prepare="""
install -d -o www-data -g www-data /run/php
make-ssl-cert generate-default-snakeoil
{ a2enmod ssl proxy_fcgi rewrite userdir headers; a2enconf php8.2-fpm; a2ensite default-ssl; } >/dev/null 2>&1
mkdir /var/www/html/private
printf '<Directory /var/www/html/private>\\nAuthType Basic\\nAuthName private\\nRequire valid-user\\n' \\
    >/etc/apache2/conf-enabled/private.conf
printf 'AuthUserFile /etc/apache2/people\\n</Directory>\\n' >>/etc/apache2/conf-enabled/private.conf
printf 'ada:%s\\n' $(openssl passwd -apr1 hers) >/etc/apache2/people
echo 'hello from apache' | tee /var/www/html/page.txt >/var/www/html/private/page.txt
echo '<?php echo "hello $_GET[who] from php at $_SERVER[SERVER_SOFTWARE]\\n";' >/var/www/html/hello.php
""",
        client=f"""
sed "s,^listen = ,&$TRACEJAIL_ROOT," /etc/php/8.2/fpm/pool.d/www.conf >$0.pool
printf '[global]\nerror_log = %s.log\n' $0 >>$0.pool
mkdir -p $TRACEJAIL_ROOT/run/php
php-fpm8.2 --nodaemonize --fpm-config $0.pool &
trap "kill $!; wait" EXIT
for again in $(seq 100); do test -S $TRACEJAIL_ROOT/run/php/php8.2-fpm.sock && break; sleep 0.1; done
{_ASK} http://127.0.0.1/page.txt
{_ASK} -k https://127.0.0.1/page.txt
{_ASK} 'http://127.0.0.1/hello.php?who=you' | sed 's,/.*,,'
{_ASK} -u ada:hers http://127.0.0.1/private/page.txt
{_ASK} -o /dev/null -w '%{{http_code}}\\n' -u ada:wrong http://127.0.0.1/private/page.txt
{_ASK} http://127.0.0.1/none.html | grep -o '<h1>.*</h1>'
{_ASK} --compressed http://127.0.0.1/ | grep -o '<title>.*</title>'
{_ASK} -I http://127.0.0.1/icons/apache_pb.png | grep -i content-type | tr -d '\\r'
grep -c none.html $TRACEJAIL_ROOT/var/log/apache2/access.log | sed 's/[1-9].*/logged/'
""",
        expected="""hello from apache
hello from apache
hello you from php at Apache
hello from apache
401
<h1>Not Found</h1>
<title>Apache2 Debian Default Page: It works</title>
Content-Type: image/png
logged
""",
        reload="USR1",
        options=(*(word for value in _APACHE for word in ("-E", value)), "--allow", "/etc/ssl/private/ssl-cert-snakeoil.key"),
        held=("/etc/apache2/mods-enabled/proxy_fcgi.load", "/etc/apache2/sites-enabled/default-ssl.conf"),
        kept_out=("/usr/sbin/php-fpm8.2", "/etc/apache2/mods-available/dav.load"),
    ),
    # As haproxy.service starts it, before a server of the exercise.
    Row(
        "haproxy", ("haproxy", "ssl-cert"),
        ("/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid", "-S",
         "/run/haproxy-master.sock"),
        unit="haproxy",
        prepare="""
install -d -m 2775 -o haproxy -g haproxy /run/haproxy
make-ssl-cert generate-default-snakeoil
cat /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key >/etc/haproxy/site.pem
cat >>/etc/haproxy/haproxy.cfg <<'END'
frontend site
    bind 127.0.0.1:80
    bind 127.0.0.1:443 ssl crt /etc/haproxy/site.pem
    http-request deny if { path_beg /private }
    http-request lua.greeting if { path /greeting }
    http-response set-header X-By haproxy
    use_backend none if { path_beg /none }
    default_backend pages
backend pages
    server one ipv4@localhost:8000
backend none
    retries 0
    server none 127.0.0.1:8001
END
sed -i 's,^global$,&\\n    lua-load /etc/haproxy/greeting.lua,' /etc/haproxy/haproxy.cfg
cat >/etc/haproxy/greeting.lua <<'END'
core.register_action("greeting", {"http-req"}, function(transaction)
    transaction:done(transaction:reply { status = 200, body = "hello from lua\\n" })
end)
END
mkdir {T}/pages
echo 'hello from behind haproxy' >{T}/pages/page.txt
""",
        client=f"""
python3 -m http.server --bind 127.0.0.1 --directory {{T}}/pages 8000 >$0.log 2>&1 &
trap "kill $!; wait" EXIT
for again in $(seq 100); do {_ASK} -o /dev/null http://127.0.0.1:8000/ 2>/dev/null && break; sleep 0.1; done
{_ASK} http://127.0.0.1/page.txt
{_ASK} -k -i https://127.0.0.1/page.txt | grep -i -e hello -e x-by | tr -d '\\r'
{_ASK} http://127.0.0.1/greeting
{_ASK} http://127.0.0.1/private | grep h1
{_ASK} http://127.0.0.1/none | grep h1
{_ASK} -X 'a b' http://127.0.0.1/ | grep h1
echo 'show servers state pages' | python3 -c '
import socket, sys, os
with socket.socket(socket.AF_UNIX) as s:
    s.connect(os.environ["TRACEJAIL_ROOT"] + "/run/haproxy/admin.sock")
    s.sendall(sys.stdin.buffer.read())
    print(s.makefile().read().splitlines()[2].split()[3:5])'
""",
        expected="""hello from behind haproxy
x-by: haproxy
hello from behind haproxy
hello from lua
<html><body><h1>403 Forbidden</h1>
<html><body><h1>503 Service Unavailable</h1>
<html><body><h1>400 Bad request</h1>
['one', '127.0.0.1']
""",
        reload="USR2", options=("--allow", "/etc/haproxy/site.pem"),
        held=("/etc/haproxy/errors/503.http", "/etc/haproxy/greeting.lua", "/var/lib/haproxy"),
    ),
    # As squid.service starts it, before a server of the exercise.
    Row(
        "squid", ("squid",), ("/usr/sbin/squid", "--foreground", "-sYC"),
        unit="squid", runtime="install -d -g proxy -m 775 /run/squid",
        prepare="""
echo '127.0.0.1 pages.example' >>/etc/hosts
mkdir {T}/pages
echo 'hello from behind squid' >{T}/pages/page.txt
touch -d 2020-01-01 {T}/pages/page.txt
""",
        client=f"""
python3 -m http.server --bind 127.0.0.1 --directory {{T}}/pages 8000 >$0.log 2>&1 &
trap "kill $!; wait" EXIT
for again in $(seq 100); do {_ASK} -o /dev/null http://127.0.0.1:8000/ 2>/dev/null && break; sleep 0.1; done
through() {{ curl -sS --noproxy '' -x http://127.0.0.1:3128 "$@" 2>&1; }}
through http://pages.example:8000/page.txt
through -i http://pages.example:8000/page.txt | grep -o -e 'X-Cache: HIT' -e 'hello.*'
through http://127.0.0.1:8001/ | grep -e '<title>' -e '<p><b>Connection'
through -p http://127.0.0.1:22/ | grep -o 403
through -H 'Accept-Language: de' http://127.0.0.1:23/ | grep '<title>'
{_ASK} http://127.0.0.1:3128/squid-internal-mgr/menu | grep -o 'Cache Manager Menu'
{_ASK} -o /dev/null -w '%{{content_type}}\\n' http://127.0.0.1:3128/squid-internal-static/icons/SN.png
grep -c 'TCP_.*HIT.*page.txt' $TRACEJAIL_ROOT/var/log/squid/access.log | sed 's/[1-9].*/logged/'
""",
        expected="""hello from behind squid
X-Cache: HIT
hello from behind squid
<title>ERROR: The requested URL could not be retrieved</title>
<p><b>Connection to 127.0.0.1 failed.</b></p>
403
<title>FEHLER: Die angeforderte URL konnte nicht gefunden werden</title>
Cache Manager Menu
image/png
logged
""",
        reopen="USR1", stop="INT",
        held=("/etc/squid/conf.d/debian.conf", "/usr/lib/squid/log_file_daemon"),
    ),
)
