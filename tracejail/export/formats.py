"""The formats: a function from a request to bytes each, and a row here."""

from __future__ import annotations

from .bwrap import bwrap
from .cpio import cpio
from .firejail import firejail
from .jailkit import jailkit
from .lists import list_lines, list_nul, rsync
from .minijail import minijail
from .mtree import mtree
from .nsjail import nsjail
from .request import Format
from .systemd import systemd, systemd_socket
from .systemd_bind import systemd_bind
from .sysusers import sysusers
from .tar import tar
from .tmpfiles import tmpfiles

FORMATS: dict[str, Format] = {
    "list": Format("one path a line, parents first; no names with a newline", "xargs -d '\\n' dpkg -S <FILE", list_lines),
    "list0": Format("the same ended by NUL, for any name", "xargs -0 stat <FILE", list_nul),
    "rsync": Format("paths without a leading slash, ended by NUL", "rsync -aHAX --from0 --files-from=FILE JAIL/ TO/", rsync),
    "tar": Format("an archive of the jail, nothing of it left out", "tar -xpf FILE --xattrs-include='*' -C JAIL", tar),
    "cpio": Format("an archive, form newc; no extended attributes", "cpio -idm -D JAIL <FILE", cpio),
    "mtree": Format("names, types, modes, owners, digests", "mtree -f FILE -p JAIL; bsdtar -C JAIL -cf TAR @FILE", mtree),
    "systemd": Format("a service unit, the jail its root", "install -m 644 FILE /etc/systemd/system/NAME.service", systemd),
    "systemd-socket": Format(
        "the socket unit beside it, where the service is given its sockets",
        "install -m 644 FILE /etc/systemd/system/NAME.socket", systemd_socket,
    ),
    "systemd-bind": Format(
        "a service unit without a jail directory: the host's files bound into an empty root",
        "install -m 644 FILE /etc/systemd/system/NAME.service", systemd_bind,
    ),
    "bwrap": Format("arguments of a sandbox, ended by NUL", "bwrap --args 3 3<FILE -- PROGRAM [ARGUMENT...]", bwrap),
    "tmpfiles": Format(
        "directories, links, devices and the files that are written to, empty",
        "systemd-tmpfiles --root=JAIL --create FILE", tmpfiles,
    ),
    "sysusers": Format("the jail's accounts, with their numbers", "systemd-sysusers FILE", sysusers),
    "jailkit": Format("a section of jk_init.ini", "jk_init -c FILE -j JAIL NAME", jailkit),
    "firejail": Format("a profile that shows the jail's files only", "firejail --profile=FILE PROGRAM [ARGUMENT...]", firejail),
    "nsjail": Format("a configuration, the command in it", "nsjail -C FILE", nsjail),
    "minijail": Format("a configuration of minijail0", "minijail0 --config FILE -- PROGRAM [ARGUMENT...]", minijail),
}
