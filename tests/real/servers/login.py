"""Servers that let users of the machine in, by PAM."""

from __future__ import annotations

from .row import Row

# -f keeps curl from a retry that hides a refusal; the transfer's path is below the user's home.
_FTP = "curl -sS --noproxy '*' --user anna:by-ftp"
_VSFTPD_CLIENT = f"""
{_FTP} ftp://127.0.0.1/file.txt
{_FTP} --list-only ftp://127.0.0.1/ | sort
{_FTP} --disable-epsv ftp://127.0.0.1/sub/deep.txt
{_FTP} --ftp-port 127.0.0.1 ftp://127.0.0.1/file.txt
curl -sS --noproxy '*' --user anna:wrong ftp://127.0.0.1/file.txt
echo $?
"""

_SSH = "-F none -i {T}/key -o UserKnownHostsFile={T}/known -o StrictHostKeyChecking=yes -o BatchMode=yes -o LogLevel=ERROR"
_SSHD_CLIENT = f"""
ssh {_SSH} anna@127.0.0.1 'echo logged in as $USER; pwd; cat file.txt; exit 5'; echo $?
ssh {_SSH} -tt anna@127.0.0.1 'tty | tr -d 0-9' | tr -d '\\r'
printf 'get file.txt {{T}}/got\\nput {{T}}/got sent.txt\\nls -1\\nrm sent.txt\\n' | sftp {_SSH} -q -b - anna@127.0.0.1 | grep -v '^sftp>'
cat {{T}}/got
ssh {_SSH} nobody@127.0.0.1 true 2>/dev/null; echo $?
"""

ROWS = (
    Row(
        "vsftpd", ("vsftpd",), ("/usr/sbin/vsftpd", "/etc/vsftpd.conf"),
        prepare="""
mkdir -p /var/run/vsftpd/empty
adduser --quiet --disabled-password --gecos '' anna
echo anna:by-ftp | chpasswd
mkdir ~anna/sub
echo 'by ftp' >~anna/file.txt
echo 'further down' >~anna/sub/deep.txt
""",
        client=_VSFTPD_CLIENT, ready="curl -sS --noproxy '*' --user nobody:none ftp://127.0.0.1/; test $? = 67",
        expected="by ftp\nfile.txt\nsub\nfurther down\nby ftp\ncurl: (67) Access denied: 530\n67\n",
        options=("--allow", "/etc/shadow"),
        held=("/home/anna/file.txt", "/etc/pam.d/vsftpd", "/var/run"),
    ),
    Row(
        "sshd", ("openssh-server", "openssh-client"), ("/usr/sbin/sshd", "-D"),
        prepare="""
install -d -m 755 /run/sshd
ssh-keygen -q -A
adduser --quiet --disabled-password --gecos '' anna
ssh-keygen -q -t ed25519 -N '' -C test -f {T}/key
install -d -o anna -g anna -m 700 ~anna/.ssh
install -o anna -g anna -m 600 {T}/key.pub ~anna/.ssh/authorized_keys
echo 'over ssh' >~anna/file.txt
echo "127.0.0.1 $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >{T}/known
""",
        client=_SSHD_CLIENT, ready="bash -c 'exec 3<>/dev/tcp/127.0.0.1/22'",
        expected="logged in as anna\n/home/anna\nover ssh\n5\n/dev/pts/\nfile.txt\nsent.txt\nover ssh\n255\n",
        options=(
            "--allow", "/etc/ssh/ssh_host_*_key", "--allow", "/etc/shadow", "--allow", "/home/anna/.ssh/*",
            # For the terminal. It finds that out by itself, too, with a round for proc and one for devpts.
            "--mount", "devpts",
        ),
        held=("/etc/pam.d/sshd", "/usr/lib/openssh/sftp-server", "/home/anna/.ssh/authorized_keys"),
        kept_out=("/etc/gshadow",),
    ),
)
