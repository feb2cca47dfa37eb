"""The tools that help an intruder, as rows of data: how each is called, and what the bytes of its program hold.

A name is a regular expression for the whole of a base name. Marks are strings of the program itself, as of its usage; all of
a row must be there. They were tried on each program of a Debian 12: what else holds one, holds not all.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Family(Enum):
    """What a tool is for; the value is the rule's name."""

    SHELL = "shell"
    INTERPRETER = "interpreter"
    COMPILER = "compiler"
    MULTI_CALL = "multi-call"
    TRANSFER = "file-transfer"
    EDITOR = "editor"
    PRIVILEGE = "privilege-tool"
    TRACER = "tracer"
    PACKAGES = "package-tool"
    FILES = "file-tool"
    NETWORK = "network-tool"


class Tool(NamedTuple):
    """A tool. `escapes`: it starts any program that it is told to, so that it is a shell too."""

    family: Family
    name: str                       # as people call it
    names: str                      # a regular expression
    marks: tuple[bytes, ...] = ()
    escapes: bool = False


def _named(family: Family, words: str) -> tuple[Tool, ...]:
    """Tools that are known by their names, and by the bytes of the host's own program of that name."""
    return tuple(Tool(family, word, word.replace("+", r"\+").replace(".", r"\.")) for word in words.split())


_S, _I, _C, _T, _E = Family.SHELL, Family.INTERPRETER, Family.COMPILER, Family.TRANSFER, Family.EDITOR
_P, _F, _N, _D = Family.PRIVILEGE, Family.FILES, Family.NETWORK, Family.TRACER
_CORE, _UTIL = b"GNU coreutils", b"util-linux"   # first, as they are looked for once for all rows
_TRIPLE = r"(?:[a-z0-9_]+-[a-z0-9-]+-)?"
_VERSION = r"(?:-?[0-9][0-9.]*)?"

TOOLS: tuple[Tool, ...] = (
    Tool(Family.MULTI_CALL, "busybox", r"busybox(?:\..*)?", (b"BusyBox v", b" multi-call binary")),
    Tool(Family.MULTI_CALL, "toybox", r"toybox(?:-.*)?", (b"Toybox %s", b"toybox")),
    Tool(_S, "bash", r"r?bash(?:-?[0-9.]+)?(?:-static)?", (b"BASH_EXECUTION_STRING", b"GNU bash")),
    Tool(_S, "zsh", r"r?zsh[0-9.-]*(?:-static)?", (b"ZSH_EXECUTION_STRING", b"zsh")),
    Tool(_S, "ksh", r"(?:r|m|l|pd|ok)*ksh[0-9]*(?:-static)?", (b"KSH_VERSION", b"OPTIND")),
    Tool(_S, "fish", r"fish", (b"FISH_NO_WSL_CHECK", b"FISH_DEBUG")),
    Tool(_S, "csh", r"t?csh", (b"See the tcsh(1) manual page", b"job control in this shell")),
    Tool(_S, "dash", r"dash", (b"OPTIND=1", b"PS4=+ ", b"/etc/profile")),
    Tool(_S, "posh", r"posh", (b"posh_builtin_getopts", b"OPTIND")),
    Tool(_S, "yash", r"yash", (b"YASH_LOADPATH", b"YASH_AFTER_CD")),
    Tool(_S, "sash", r"sash", (b"Stand-alone shell (version %s)", b"aliasall")),
    Tool(_S, "elvish", r"elvish", (b"src.elv.sh/pkg/eval", b"src.elv.sh/pkg/edit")),
    Tool(_S, "sh", r"sh(?:\.distrib)?|ash|hush|rsh-redone|nu|xonsh|pwsh|git-shell|lshell"),
    # What each shell of POSIX must know by these names; none but a shell knows all of them.
    Tool(_S, "a shell of unknown make", "", (b"OPTIND", b"PPID", b"PS2", b"PS4", b"IFS", b"MAIL")),
    Tool(_I, "perl", rf"perl{_VERSION}(?:t|-static)?", (b"PERL5LIB", b"PERL5OPT", b"PERL_DESTRUCT_LEVEL"), True),
    Tool(_I, "python", r"(?:python|pypy)[0-9.]*(?:d|m)?(?:-[a-z-]+)?", (b"PYTHONINSPECT", b"PYTHONHOME", b"PYTHONSTARTUP"), True),
    Tool(_I, "python", "", (b"Py_BytesMain",), True),   # one whose library is another file
    Tool(_I, "ruby", r"[jm]?(?:ruby|irb)[0-9.]*", (b"RUBYOPT", b"RUBYLIB", b"ruby_run_node"), True),
    Tool(_I, "ruby", "", (b"ruby_run_node", b"ruby_sysinit"), True),
    Tool(_I, "lua", r"(?:lua|luajit|texlua)[0-9.-]*", (b"LUA_INIT", b"LUA_PATH"), True),
    Tool(_I, "php", r"(?:php|php-cgi|phpdbg|hhvm)[0-9.]*", (b"PHP_INI_SCAN_DIR", b"Interactive shell"), True),
    Tool(_I, "node", r"node(?:js)?[0-9]*|bun|deno|qjs|d8|mujs|njs", (b"NODE_OPTIONS", b"NODE_REPL_HISTORY"), True),
    Tool(_I, "tclsh", r"(?:tclsh|wish|expect|jimsh)[0-9.]*", (b"tcl_rcFileName", b"tclshrc"), True),
    Tool(_I, "gawk", r"gawk(?:-[0-9.]+)?", (b"AWKPATH", b"AWKLIBPATH", b"ARGIND"), True),
    Tool(_I, "mawk", r"mawk", (b"Usage: mawk",), True),
    Tool(_I, "awk", r"n?awk|original-awk|bwk", (b"usage: %s [-F fs]", b"RSTART", b"SUBSEP"), True),
    Tool(_I, "java", r"java|jshell|jrunscript", (b"JDK_JAVA_OPTIONS", b"LAUNCHER")),
    Tool(_I, "guile", r"guile(?:-?[0-9.]+)?|racket|sbcl|clisp|ecl|scheme|emacs-lisp|gosh", (b"GUILE_LOAD_PATH",), True),
    Tool(_I, "R", r"Rscript|octave(?:-cli)?|julia|ocaml|ghci|erl|elixir|iex|escript|groovy|scala|swift|psh"),
    Tool(_I, "bc", r"bc|dc", (b"BC_LINE_LENGTH",)),
    Tool(_I, "gdb", r"(?:gdb|lldb)(?:-?[0-9.]+)?(?:-multiarch)?", (b"GDBHISTFILE",), True),
    Tool(_I, "sqlite3", r"sqlite3", (b"Usage: %s [OPTIONS] FILENAME", b".shell CMD ARGS")),
    Tool(_C, "gcc", rf"{_TRIPLE}(?:gcc|g\+\+|cc|c\+\+|cpp|c89|c99|gfortran|gdc|gnat){_VERSION}",
         (b"COLLECT_GCC_OPTIONS", b"-dumpspecs")),
    Tool(_C, "cc1", r"cc1(?:plus|obj)?|collect2|lto1|f951|go1|d21|lto-wrapper", (b"GNU C%s %s%s (%s)",)),
    Tool(_C, "clang", rf"clang(?:\+\+|-cpp)?{_VERSION}", (b"clang version", b"CCC_OVERRIDE_OPTIONS")),
    Tool(_C, "tcc", r"(?:[a-z0-9_]+-)?tcc", (b"libtcc1", b"tcc: ar: can't open file %s")),
    Tool(_C, "cc", r"pcc|lcc|chibicc|cproc|zig|rustc|cargo|go|gofmt|ghc|dmd|nim|fpc|javac|valac",),
    Tool(_C, "as", rf"{_TRIPLE}g?as|nasm|yasm|fasm", (b"GNU assembler", b"-march=")),
    Tool(_C, "ld", rf"{_TRIPLE}(?:ld|gold)(?:\.(?:bfd|gold|lld|so-linker|mold))?|ld\.lld{_VERSION}|mold",
         (b"LDEMULATION", b"GNU ld")),
    Tool(_C, "make", r"[gbp]?make|ninja|cmake|meson|m4|bison|yacc|flex", (b"%sGNU Make %s", b"MAKEFLAGS"), True),
    Tool(_T, "curl", r"curl", (b"curl: (%d)", b"CURL_HOME")),
    Tool(_T, "wget", r"wget2?", (b"GNU Wget", b"WGETRC")),
    Tool(_T, "nc", r"nc(?:\.(?:openbsd|traditional|bsd))?|netcat(?:6|-.*)?|ncat|nc6|pnetcat",
         (b"usage: nc ", b"-X proxy_protocol")),
    Tool(_T, "nc", "", (b"connect to somewhere:", b"listen for inbound:"), True),
    Tool(_T, "ncat", "", (b"Ncat", b"--sh-exec"), True),
    Tool(_T, "socat", r"socat1?|procan|filan", (b"Gerhard Rieger", b"socat [options] <bi-address>"), True),
    Tool(_T, "ssh", r"ssh[0-9]?|slogin|autossh|dbclient|plink", (b"usage: ssh [", b"SSH_ASKPASS"), True),
    Tool(_T, "scp", r"scp|pscp", (b"usage: scp [",)),
    Tool(_T, "sftp", r"sftp|psftp", (b"SFTP protocol version %u", b"Show SFTP version"), True),
    Tool(_T, "rsync", r"rsync(?:-ssl)?", (b"RSYNC_RSH", b"RSYNC_PROXY"), True),
    Tool(_T, "tftp", r"a?tftp", (b"tftp: bind", b"octet")),
    Tool(_T, "lftp", r"lftp", (b"lftp_readline", b"lftp_rl_init"), True),
    Tool(_T, "aria2c", r"aria2c", (b"aria29Exception",)),
    Tool(_T, "ftp", r"(?:netkit-|inetutils-|pftp|tn|nc)?ftp|lftpget", (b"ftp> ", b"PASV")),
    Tool(_T, "telnet", r"(?:inetutils-)?telnet(?:\..*)?|rlogin|rsh|rcp|rexec", (b"%s/.telnetrc", b"telnet: socket")),
    *_named(_T, "axel lynx links elinks w3m rclone smbclient fetch httpie uftp lwp-download GET POST openssl-client "
                "busctl uucp sz rz rsh-client croc magic-wormhole"),
    Tool(_T, "openssl", r"openssl", (b"Usage: %s [options] [certreq...]", b"s_client")),
    Tool(_E, "vim", r"(?:r|g|e)?(?:vi|view|vim|vimdiff|ex)(?:\.(?:basic|tiny|nox|gtk3?|athena))?|n?vim|nvi|elvis|vile",
         (b"VIM - Vi IMproved", b"VIMRUNTIME"), True),
    Tool(_E, "nvi", "", (b"NEXINIT", b"Nvi recovery program"), True),
    Tool(_E, "joe", r"joe|jstar|jpico|rjoe", (b"DEADJOE", b"JOE was aborted"), True),
    Tool(_E, "micro", r"micro", (b"github.com/zyedidia/micro",), True),
    Tool(_E, "zile", r"zile", (b"GNU Zile",), True),
    Tool(_E, "nano", r"r?nano(?:-tiny)?|pico", (b"GNU nano",)),
    Tool(_E, "ed", r"r?ed", (b"GNU ed is a line-oriented",), True),
    Tool(_E, "sed", r"[gs]?sed", (b"GNU sed home page", b"--in-place")),
    Tool(_E, "emacs", r"emacs(?:-[a-z0-9.]+)?|jmacs|jed|mg", (b"EMACSLOADPATH",), True),
    *_named(_E, "mcedit mc ne kak hx helix patch less more most lesspipe"),
    Tool(_P, "chmod", r"chmod", (_CORE, b"Change the mode of each FILE to MODE.",)),
    Tool(_P, "chown", r"chown", (_CORE, b"Change the owner and/or group of each FILE",)),
    Tool(_P, "chgrp", r"chgrp", (_CORE, b"Change the group of each FILE to GROUP.",)),
    Tool(_P, "mknod", r"mknod", (_CORE, b"Create the special file NAME of the given TYPE.",)),
    Tool(_P, "mkfifo", r"mkfifo", (_CORE, b"Create named pipes (FIFOs) with the given NAMEs.",)),
    Tool(_P, "chroot", r"chroot", (_CORE, b"Run COMMAND with root directory set to NEWROOT.",), True),
    Tool(_P, "mount", r"mount(?:\.[a-z0-9]+)?|mount-static", (_UTIL, b"Mount a filesystem.",)),
    Tool(_P, "umount", r"umount(?:\.[a-z0-9]+)?", (_UTIL, b"Unmount filesystems.",)),
    Tool(_P, "setpriv", r"setpriv", (_UTIL, b"Run a program with different privilege settings.",), True),
    Tool(_P, "unshare", r"unshare", (_UTIL, b"Run a program with some namespaces unshared from the parent.",), True),
    Tool(_P, "nsenter", r"nsenter", (_UTIL, b"Run a program with namespaces of other processes.",), True),
    Tool(_P, "pivot_root", r"pivot_root|switch_root", (_UTIL, b"Change the root filesystem.",)),
    Tool(_P, "losetup", r"losetup", (_UTIL, b"Set up and control loop devices.",)),
    Tool(_P, "setarch", r"setarch|linux(?:32|64)|i386|x86_64",
         (_UTIL, b"Change the reported architecture and set personality flags.",), True),
    Tool(_P, "su", r"su|runuser", (_UTIL, b"Change the effective user ID and group ID to that of <user>.",), True),
    Tool(_P, "sudo", r"sudo(?:edit|replay)?|pkexec|super|calife", (b"sudo_fatal_nodebug_v1", b"sudo_conf_askpass_path_v1"),
         True),
    Tool(_P, "doas", r"doas", (b"usage: doas [",), True),
    Tool(_P, "setcap", r"setcap|getcap|capsh|getpcaps", (b"usage: setcap [",)),
    Tool(_P, "capsh", "", (b"--drop=xxx", b"--chroot=path"), True),
    Tool(_P, "start-stop-daemon", r"start-stop-daemon", (b"Usage: start-stop-daemon [",), True),
    Tool(_P, "setfacl", r"setfacl|chacl", (b"Usage: %s [-bkndRLP]",)),
    Tool(_P, "kmod", r"kmod|insmod|modprobe|rmmod", (b"kmod - Manage kernel modules",)),
    Tool(_P, "chattr", r"chattr", (b"[-RVf] [-+=",)),
    Tool(_P, "iptables", r"(?:ip|ip6|eb|arp)tables(?:-.*)?|xtables-.*|nft|ufw", (b"xtables-nft-multi",)),
    *_named(_P, "passwd chsh chfn newgrp sg gpasswd chage expiry useradd usermod userdel groupadd adduser addgroup chpasswd "
                "newuidmap newgidmap sysctl swapon swapoff mkfs fdisk sfdisk parted mkswap dmsetup lvm cryptsetup kexec "
                "crontab at systemctl systemd-run machinectl loginctl fusermount fusermount3 bwrap firejail docker podman "
                "runc crun lxc-attach ctr nerdctl debugfs fsck setuidgid chpst softlimit gosu su-exec unix_chkpwd login "
                "agetty getty sulogin init telinit reboot shutdown halt poweroff hdparm iucode setserial ctrlaltdel"),
    Tool(_D, "strace", r"strace(?:-log-merge)?", (b"Usage: strace [",), True),
    Tool(_D, "ltrace", r"ltrace", (b"~/.ltrace.conf", b"ltrace version"), True),
    *_named(_D, "perf bpftrace bpftool gdbserver valgrind rr crash uftrace sysdig trace-cmd gcore objdump readelf nm "
                "objcopy strip strings addr2line gprof radare2 r2 rizin"),
    *_named(Family.PACKAGES, "dpkg-deb dpkg-divert dpkg-query dpkg-statoverride rpm rpm2cpio yum dnf zypper apk pacman opkg snap "
                             "flatpak pip pip3 npm gem cpan emerge nix guix aptitude dselect apt-key"),
    Tool(Family.PACKAGES, "dpkg", r"dpkg", (b".dpkg-ne", b"depends-version")),
    Tool(Family.PACKAGES, "apt", r"apt(?:-get|-cache|-mark|-cdrom|-config)?", (b"Usage: apt [options] command",)),
    Tool(_N, "tcpdump", r"tcpdump|dumpcap|tshark|ngrep|dsniff|ettercap|wireshark", (b"pcap_compile", b"tcpdump")),
    *_named(_N, "nmap masscan hping3 arping ping ping6 traceroute mtr ip ifconfig route tc ss netstat arp dig nslookup host "
                "nsupdate iw iwconfig ethtool bridge nmcli brctl psql mysql mariadb redis-cli mongo mongosh ldapsearch "
                "ldapmodify snmpwalk ab siege wrk hydra"),
    Tool(_F, "cat", r"cat|tac|rev|zcat|bzcat|xzcat|zstdcat", (_CORE, b"Concatenate FILE(s) to standard output.",)),
    Tool(_F, "cp", r"cp", (_CORE, b"Copy SOURCE to DEST, or multiple SOURCE(s) to DIRECTORY.",)),
    Tool(_F, "mv", r"mv", (_CORE, b"Rename SOURCE to DEST, or move SOURCE(s) to DIRECTORY.",)),
    Tool(_F, "rm", r"rm|rmdir|unlink|shred", (_CORE, b"Remove (unlink) the FILE(s).",)),
    Tool(_F, "ln", r"ln|link|symlink", (_CORE, b"create a link to TARGET with the name LINK_NAME.",)),
    Tool(_F, "ls", r"ls|dir|vdir|tree", (_CORE, b"List information about the FILEs",)),
    Tool(_F, "dd", r"dd", (_CORE, b"Copy a file, converting and formatting according to the operands.",)),
    Tool(_F, "tee", r"tee", (_CORE, b"Copy standard input to each FILE, and also to standard output.",)),
    Tool(_F, "head", r"head", (_CORE, b"Print the first %d lines of each FILE to standard output.",)),
    Tool(_F, "tail", r"tail", (_CORE, b"Print the last %d lines of each FILE to standard output.",)),
    Tool(_F, "install", r"install|ginstall", (_CORE, b"In the first three forms, copy SOURCE to DEST",)),
    Tool(_F, "mkdir", r"mkdir", (_CORE, b"Create the DIRECTORY(ies), if they do not already exist.",)),
    Tool(_F, "touch", r"touch", (_CORE, b"Update the access and modification times of each FILE",)),
    Tool(_F, "truncate", r"truncate|fallocate", (_CORE, b"Shrink or extend the size of each FILE to the specified size",)),
    Tool(_F, "od", r"od|xxd|hexdump|hd", (_CORE, b"Write an unambiguous representation, octal bytes by default,",)),
    Tool(_F, "base64", r"base(?:64|32|nc)", (_CORE, b"encode or decode FILE, or standard input, to standard output.",)),
    Tool(_F, "stat", r"stat", (_CORE, b"Display file or file system status.",)),
    Tool(_F, "env", r"env", (_CORE, b"Set each NAME to VALUE in the environment and run COMMAND.",), True),
    Tool(_F, "nohup", r"nohup", (_CORE, b"Run COMMAND, ignoring hangup signals.",), True),
    Tool(_F, "timeout", r"timeout", (_CORE, b"Start COMMAND, and kill it if still running after DURATION.",), True),
    Tool(_F, "xargs", r"xargs|parallel", (b"Run COMMAND with arguments INITIAL-ARGS",), True),
    Tool(_F, "find", r"find|fd|fdfind|locate|plocate", (b"-execdir", b"-fprintf", b"-Olevel"), True),
    Tool(_F, "tar", r"(?:g|bsd)?tar|star", (b"TAR_VERSION", b"to-command"), True),
    Tool(_F, "cpio", r"(?:bsd)?cpio|pax", (b"bug-cpio@gnu.org",)),
    *_named(_F, "grep egrep fgrep gzip gunzip bzip2 xz zstd zip unzip 7z ar sort cut paste split csplit join comm uniq nl fmt "
                "pr fold expand cmp diff diff3 sdiff file readlink realpath mktemp ps top htop pgrep pkill kill killall lsof "
                "fuser pstree w who whoami id groups last df du free vmstat mountpoint lsblk blkid findmnt dmesg flock setsid "
                "script scriptreplay screen tmux ionice chrt taskset nice stdbuf time watch run-parts run-mailcap date hostname "
                "uname printenv tty stty getent ldd ldconfig lsattr getfacl"),
)

# Those that a multi-call binary may hold inside, by family: what is told of it is that they are there.
APPLETS: tuple[tuple[Family, str], ...] = (
    (_S, "ash sh hush msh lash bash cttyhack"),
    (_I, "awk bc dc"),
    (_T, "wget nc ftpget ftpput tftp telnet httpd telnetd tcpsvd tftpd udhcpd ssl_client netcat"),
    (_E, "vi ed sed patch"),
    (_P, "chmod chown chgrp mknod mkfifo chroot mount umount setpriv unshare nsenter pivot_root switch_root losetup su passwd "
         "insmod modprobe setuidgid chpst start-stop-daemon devmem swapon mdev"),
    (_F, "cat cp mv rm ln ls dd tee head tail tar cpio find xargs env timeout od hexdump base64"),
)

# Sockets on which a daemon of the host does what it is told:
# a regular expression for the end of the path, who listens, and how bad it is.
SOCKETS: tuple[tuple[str, str, str], ...] = (
    (r"(?:docker|podman|containerd|crio|cri-dockerd|buildkitd|dockershim|balena|lxd/unix|incus/unix|lxc/unix)[^/]*\.socke?t?",
     "the container engine, which starts any program as root on the host", "critical"),
    (r"systemd/private|io\.systemd\.(?:Manager|Machine|sysext)[^/]*",
     "the service manager, which starts services as root", "critical"),
    (r"libvirt/(?:[^/]+/)?[^/]*sock[^/]*|snapd[^/]*\.socket|cockpit/.*",
     "a manager of machines or packages, which works as root", "critical"),
    (r"dbus/system_bus_socket|(?:run/user/[0-9]+|dbus[^/]*)/(?:bus|dbus-[^/]+)",
     "the message bus, and all services on it", "high"),
    (r"\.X11-unix/X[0-9]+|wayland-[0-9]+|\.ICE-unix/[^/]+|pulse/native|pipewire-[0-9]+",
     "a desktop: its keys are read and typed there", "high"),
    (r"(?:ssh-[^/]+/)?agent\.[0-9]+|S\.gpg-agent[^/]*|keyring/(?:ssh|control|pkcs11)|ssh-agent[^/]*|S\.scdaemon",
     "an agent that uses somebody's keys for whoever asks", "high"),
    (r"screens?/[^/]+|S-[^/]+/[0-9]+\.[^/]+|tmux-[0-9]+/[^/]+", "a terminal of somebody, in which commands can be typed", "high"),
    (r"systemd/(?:journal/(?:dev-log|socket|stdout)|notify)|dev/log|(?:run|dev)/(?:systemd/)?(?:log|notify)|nscd/socket",
     "", "info"),
)

# Directories of version control, and a file that is in each.
REPOSITORIES = {".git": "HEAD", ".hg": "requires", ".svn": "wc.db", ".bzr": "README", "CVS": "Entries"}
