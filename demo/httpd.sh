#!/bin/sh
# Learn a jail for Apache with one page and one client, then serve that page from the plain jail.
# Everything lies in a temporary folder and a private network, and is gone afterwards.
set -eu

tracejail=$1
case $tracejail in */*) tracejail=$(cd "$(dirname "$tracejail")" && pwd)/$(basename "$tracejail") ;; esac
[ "$(id -u)" = 0 ] || { echo "the demo needs root, as chroot does" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
chmod 755 "$work"
mkdir "$work/www" "$work/log"
echo "<h1>Served from a jail that tracejail learned</h1>" >"$work/www/index.html"
modules=/usr/lib/apache2/modules
cat >"$work/httpd.conf" <<EOF
ServerName localhost
ServerRoot $work
Listen 127.0.0.1:8080
PidFile $work/httpd.pid
ErrorLog $work/log/error.log
User www-data
Group www-data
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule dir_module $modules/mod_dir.so
LoadModule mime_module $modules/mod_mime.so
TypesConfig /etc/mime.types
DocumentRoot $work/www
<Directory $work/www>
  Require all granted
</Directory>
EOF

say() { printf '\n--- %s\n' "$1"; }

say "1. A plain copy of the program is not enough: chroot says"
mkdir "$work/naive"
cp --parents /usr/sbin/apache2 "$work/naive"
chroot "$work/naive" /usr/sbin/apache2 -v || true

say "2. tracejail learns what it needs, with curl as the client"
cd "$work"
"$tracejail" learn --exercise 'curl -fsS http://127.0.0.1:8080/' /usr/sbin/apache2 -f "$work/httpd.conf" -DFOREGROUND

say "3. Why is the list of MIME types in the jail?"
"$tracejail" why apache2.jail.json /etc/mime.types

say "4. The page, served by chroot from the plain jail, in a network of its own"
unshare --net --pid --fork --kill-child sh -eu -c '
    ip link set lo up
    chroot apache2.jail /usr/sbin/apache2 -f "$0/httpd.conf" -DFOREGROUND &
    for try in 1 2 3 4 5 6 7 8 9 10; do
        curl -fsS http://127.0.0.1:8080/ 2>/dev/null && exit 0
        sleep 0.5
    done
    echo "no answer" >&2
    exit 1' "$work"

say "5. And there is no shell in it"
chroot apache2.jail /bin/sh -c true 2>&1 || true
