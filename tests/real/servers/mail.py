"""Mail servers."""

from __future__ import annotations

from .generation import greeting, served_as_written, written_anew
from .row import Row

_CURL = "curl -sS --noproxy '*'"

_SEND = f"{_CURL} smtp://127.0.0.1/client.localhost --mail-from bert@localhost -T {{T}}/letter --mail-rcpt"

# The mail goes through smtpd, cleanup, the queue manager and local, into the mailbox of a user of the machine.
_POSTFIX_CLIENT = f"""
{served_as_written("/etc/postfix/main.cf", greeting(25))}
box=$TRACEJAIL_ROOT/var/mail/anna
number=$(date +%s%N)
printf 'From: bert@localhost\\r\\nTo: anna@localhost\\r\\nSubject: number %s\\r\\n\\r\\nhello by mail\\r\\n' $number >{{T}}/letter
{_SEND} anna@localhost && echo sent
for time in 1 2 3 4 5 6 7 8 9 10; do
    grep -qs "Subject: number $number" $box && break
    sleep 0.5
done
sed -n "/^Subject: number $number/,/^From /p" $box | grep hello
stat -c '%U %G %a' $box
{_SEND} nobody-here@localhost
{_SEND} root@localhost && echo sent to root
for time in 1 2 3 4 5 6 7 8 9 10; do
    grep -qs "Subject: number $number" $TRACEJAIL_ROOT/var/mail/bert && break
    sleep 0.5
done
grep -o "^X-Original-To: .*" $TRACEJAIL_ROOT/var/mail/bert | sort -u
{written_anew()}
"""

_DOVECOT_CLIENT = f"""
{served_as_written("/etc/dovecot/conf.d/99-test.conf", greeting(143))}
{_CURL} --user anna:by-imap imap://127.0.0.1/INBOX -X 'SELECT INBOX' | grep -o '[0-9]* EXISTS' | tr -d '\\r'
{_CURL} --user anna:by-imap 'imap://127.0.0.1/INBOX;UID=1;SECTION=TEXT' | tr -d '\\r' | grep .
{_CURL} --user anna:by-imap --cacert {{T}}/certificate.pem 'imaps://localhost/INBOX?SUBJECT%20second' | tr -d '\\r'
{written_anew()}
"""

ROWS = (
    Row(
        "postfix", ("postfix",), ("/usr/sbin/postfix", "start"),
        unit="postfix@-",
        prepare="""
adduser --quiet --disabled-password --gecos '' anna
adduser --quiet --disabled-password --gecos '' bert
echo 'root: bert' >>/etc/aliases
newaliases
sed -i 's/^smtpd_banner = .*/smtpd_banner = $myhostname ESMTP generation-1/' /etc/postfix/main.cf
/usr/lib/postfix/configure-instance.sh -
""",
        client=_POSTFIX_CLIENT, ready=f"{greeting(25)} | grep -q ^220",
        expected=(
            "served as written\nsent\nhello by mail\nanna mail 600\ncurl: (55) RCPT failed: 550\nsent to root\n"
            "X-Original-To: root@localhost\n"
        ),
        held=("/usr/lib/postfix/sbin/local", "/usr/lib/postfix/sbin/cleanup"),
    ),
    Row(
        "dovecot", ("dovecot-imapd", "openssl"), ("/usr/sbin/dovecot", "-F"),
        unit="dovecot",
        prepare="""
adduser --quiet --disabled-password --gecos '' anna
echo anna:by-imap | chpasswd
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
    -keyout /etc/dovecot/private/dovecot.key -out /etc/dovecot/private/dovecot.pem 2>/dev/null
cp /etc/dovecot/private/dovecot.pem {T}/certificate.pem
for number in first second; do
    printf 'From bert@localhost Tue Nov 14 22:13:20 2023\\nSubject: the %s\\n\\nhello, %s\\n\\n' $number $number
done >/var/mail/anna
chown anna:mail /var/mail/anna
chmod 660 /var/mail/anna
echo 'login_greeting = generation-1' >/etc/dovecot/conf.d/99-test.conf
""",
        client=_DOVECOT_CLIENT, ready=f"{greeting(143)} | grep -q OK",
        expected="served as written\n2 EXISTS\nhello, first\n* SEARCH 2\n",
        options=("--allow", "/etc/shadow", "--allow", "/etc/dovecot/private/dovecot.key"),
        held=("/usr/lib/dovecot/imap", "/usr/lib/dovecot/auth", "/etc/pam.d/dovecot"),
    ),
)
