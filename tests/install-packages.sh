#!/bin/sh
# Install Debian packages for the tests (all of them, or those named), and start none of their services.
set -eu

packages=${*:-"python3-venv gcc libc6-dev gcc-multilib strace apache2 nginx-light redis-server postgresql-15 vsftpd
openssh-server openssh-client php-cli php-mbstring default-jre-headless nodejs sqlite3 curl gawk busybox-static git
openssl perl tar gzip bash bpftool iproute2 util-linux uidmap procps ca-certificates python3 file php8.2-fpm libfcgi-bin
mariadb-server squid slapd ldap-utils haproxy memcached bind9 bind9-dnsutils unbound dnsmasq postfix
dovecot-imapd chrony rsyslog adduser rsync cpio mtree-netbsd libarchive-tools
squashfs-tools skopeo umoci buildah crun runc initramfs-tools-core dracut-core jailkit apparmor
socat debootstrap libcap2-bin chromium fonts-dejavu-core graphviz ncdu libdevel-nytprof-perl systemd systemd-container bubblewrap firejail musl musl-tools"}

missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "these Debian packages are missing, and only root can install them:$missing" >&2; exit 1; }

# Two at once would each take the other's policy for one that was there before.
exec 9</usr/sbin
flock 9

# invoke-rc.d(8): status 101 of policy-rc.d means that no service may be started. What was there comes back.
policy=/usr/sbin/policy-rc.d
saved=
if [ -e "$policy" ] || [ -L "$policy" ]; then
    saved=$policy.before-tracejail-tests
    mv "$policy" "$saved"
fi
restore() { rm -f "$policy"; [ -z "$saved" ] || mv "$saved" "$policy"; }
trap restore EXIT
trap 'exit 1' INT TERM HUP
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Postfix asks what it is for, and without an answer it comes without a configuration.
if command -v debconf-set-selections >/dev/null; then
    echo 'postfix postfix/main_mailer_type select Local only' | debconf-set-selections
    echo 'postfix postfix/mailname string localhost' | debconf-set-selections
fi
# shellcheck disable=SC2086
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
