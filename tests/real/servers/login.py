"""Servers that let users of the machine in, by PAM."""

from __future__ import annotations

from .generation import greeting, served_as_written, written_anew
from .row import Row

_FTP = "curl -sS --noproxy '*' --user anna:by-ftp"
_VSFTPD_CLIENT = f"""
{served_as_written("/etc/vsftpd.conf", greeting(21))}
{_FTP} ftp://127.0.0.1/file.txt
{_FTP} --list-only ftp://127.0.0.1/ | sort
{_FTP} --disable-epsv ftp://127.0.0.1/sub/deep.txt
{_FTP} --ftp-port 127.0.0.1 ftp://127.0.0.1/file.txt
curl -sS --noproxy '*' --user anna:wrong ftp://127.0.0.1/file.txt
echo $?
{written_anew()}
"""

_SSH = "-F none -i {T}/key -o UserKnownHostsFile={T}/known -o StrictHostKeyChecking=yes -o BatchMode=yes -o LogLevel=ERROR"
_SSHD_CLIENT = f"""
{served_as_written("/etc/ssh/sshd_config.d/test.conf", greeting(22))}
ssh {_SSH} anna@127.0.0.1 'echo logged in as $USER; pwd; cat file.txt; exit 5'; echo $?
ssh {_SSH} -tt anna@127.0.0.1 'tty | tr -d 0-9' | tr -d '\\r'
printf 'get file.txt {{T}}/got\\nput {{T}}/got sent.txt\\nls -1\\nrm sent.txt\\n' >{{T}}/batch
sftp {_SSH} -q -b {{T}}/batch anna@127.0.0.1 | grep -v '^sftp>'
cat {{T}}/got
ssh {_SSH} nobody@127.0.0.1 true 2>/dev/null; echo $?
{written_anew()}
"""

ROWS = (
    Row(
        "vsftpd", ("vsftpd",), ("/usr/sbin/vsftpd", "/etc/vsftpd.conf"),
        unit="vsftpd", runtime="mkdir -p /var/run/vsftpd/empty",
        prepare="""
adduser --quiet --disabled-password --gecos '' anna
echo anna:by-ftp | chpasswd
mkdir ~anna/sub
echo 'by ftp' >~anna/file.txt
echo 'further down' >~anna/sub/deep.txt
echo 'ftpd_banner=generation-1' >>/etc/vsftpd.conf
""",
        client=_VSFTPD_CLIENT, ready=f"{greeting(21)} | grep -q ^220",
        expected="served as written\nby ftp\nfile.txt\nsub\nfurther down\nby ftp\ncurl: (67) Access denied: 530\n67\n",
        options=("--allow", "/etc/shadow"),
        held=("/home/anna/file.txt", "/etc/pam.d/vsftpd", "/var/run"),
    ),
    Row(
        "sshd", ("openssh-server", "openssh-client"), ("/usr/sbin/sshd", "-D"),
        unit="ssh", runtime="install -d -m 755 /run/sshd",
        prepare="""
ssh-keygen -q -A
adduser --quiet --disabled-password --gecos '' anna
ssh-keygen -q -t ed25519 -N '' -C test -f {T}/key
install -d -o anna -g anna -m 700 ~anna/.ssh
install -o anna -g anna -m 600 {T}/key.pub ~anna/.ssh/authorized_keys
echo 'over ssh' >~anna/file.txt
echo 'VersionAddendum generation-1' >/etc/ssh/sshd_config.d/test.conf
echo "127.0.0.1 $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >{T}/known
""",
        client=_SSHD_CLIENT, ready=f"{greeting(22)} | grep -q ^SSH",
        expected="served as written\nlogged in as anna\n/home/anna\nover ssh\n5\n/dev/pts/\nfile.txt\nsent.txt\nover ssh\n255\n",
        options=(
            "--allow", "/etc/ssh/ssh_host_*_key", "--allow", "/etc/shadow", "--allow", "/home/anna/.ssh/*",
        ),
        held=("/etc/pam.d/sshd", "/usr/lib/openssh/sftp-server", "/home/anna/.ssh/authorized_keys"),
        kept_out=("/etc/gshadow",), rounds=4,
        why_more="it asks for /proc and, for the client's terminal, /dev/pts: it is tried which of them it takes",
    ),
)
