"""The formats: a function from a request to bytes each, and a row here."""

from __future__ import annotations

from .apparmor import apparmor
from .bwrap import bwrap
from .cpio import cpio
from .cyclonedx import cyclonedx
from .dot import dot
from .firejail import firejail
from .folded import folded
from .html import html
from .image import dockerfile, oci
from .initramfs import dracut, gen_init_cpio, initramfs
from .jailkit import jailkit
from .landlock import landlock
from .lists import list_lines, list_nul, rsync
from .minijail import minijail
from .mtree import mtree
from .ncdu import ncdu
from .nsjail import nsjail
from .request import Format
from .seccomp import seccomp
from .spdx import spdx
from .squashfs import squashfs
from .systemd import systemd, systemd_socket
from .systemd_bind import systemd_bind
from .sysusers import sysusers
from .tar import tar
from .tmpfiles import tmpfiles

FORMATS: dict[str, Format] = {
    "list": Format("one path a line, parents first; no names with a newline", "xargs -d '\\n' dpkg -S <FILE", list_lines),
    "list0": Format("the same ended by NUL, for any name", "xargs -0 stat <FILE", list_nul),
    "rsync": Format("paths without a leading slash, ended by NUL", "rsync -aHAX --from0 --files-from=FILE JAIL/ TO/", rsync),
    "tar": Format("an archive of the jail, nothing of it left out", "tar -xpf FILE --xattrs-include='*' -C JAIL", tar, True),
    "cpio": Format("an archive, form newc; no extended attributes", "cpio -idm -D JAIL <FILE", cpio, True),
    "mtree": Format("names, types, modes, owners, digests", "mtree -f FILE -p JAIL; bsdtar -C JAIL -cf TAR @$PWD/FILE", mtree),
    "squashfs": Format("a pseudo file with the bytes in it", "mksquashfs - IMAGE -pf FILE", squashfs, True),
    "oci": Format("an image of one layer, in a tar archive", "skopeo copy oci-archive:FILE docker-daemon:NAME", oci, True),
    "dockerfile": Format("lines around jail.tar, which export tar makes", "buildah build -f FILE DIRECTORY", dockerfile),
    "apparmor": Format("a profile of AppArmor for the jailed program", "apparmor_parser -r FILE", apparmor),
    "landlock": Format("options of setpriv (util-linux 2.40): no jail, the host's files", "xargs -0 -a FILE setpriv", landlock),
    "seccomp": Format("a profile: the calls that it made, and few more", "podman run --security-opt seccomp=FILE", seccomp),
    "initramfs": Format("a hook that copies the jail", "install -m 755 FILE /etc/initramfs-tools/hooks/NAME", initramfs),
    "dracut": Format("a configuration that installs the host's files", "dracut --conf FILE", dracut),
    "gen-init-cpio": Format("the kernel's own list; files come from the jail", "usr/gen_init_cpio FILE", gen_init_cpio),
    "cyclonedx": Format("bill of materials, CycloneDX 1.6 as JSON", "cyclonedx validate --input-file FILE", cyclonedx),
    "spdx": Format("bill of materials, SPDX 2.3 as JSON", "pyspdxtools -i FILE", spdx),
    "dot": Format("a graph of who brought what; --packages: of packages", "dot -Tsvg -O FILE", dot),
    "ncdu": Format("a tree by size, to walk through", "ncdu -f FILE", ncdu),
    "folded": Format("folded stacks of sizes; --packages: by package", "flamegraph.pl --countname bytes FILE >SVG", folded),
    "html": Format("a page to look at: what is in the jail, and why", "xdg-open FILE", html),
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
        "systemd-tmpfiles --root=JAIL --create $PWD/FILE", tmpfiles,
    ),
    "sysusers": Format("the jail's accounts, with their numbers", "systemd-sysusers $PWD/FILE", sysusers),
    "jailkit": Format("a section of jk_init.ini", "jk_init -c FILE -j JAIL NAME", jailkit),
    "firejail": Format("a profile that shows the jail's files only", "firejail --profile=FILE PROGRAM [ARGUMENT...]", firejail),
    "nsjail": Format("a configuration, the command in it", "nsjail -C FILE", nsjail),
    "minijail": Format("a configuration of minijail0", "minijail0 --config FILE -- PROGRAM [ARGUMENT...]", minijail),
}
