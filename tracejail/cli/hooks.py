"""Hooks for what patches the host: text to put into a file of the package manager or of systemd."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

_APT = """\
// Brings jails over when packages were changed: /etc/apt/apt.conf.d/90tracejail
DPkg::Post-Invoke { "test ! -d /var/lib/tracejail || (cd / && %COMMAND% update --all) || true"; };
"""
_SERVICE = """\
# Brings jails over: /etc/systemd/system/tracejail-update.service
[Unit]
Description=Bring jails to what the host has now
ConditionDirectoryNotEmpty=/var/lib/tracejail

[Service]
Type=oneshot
ExecStart=%COMMAND% update --all
# 1: something was kept as it is, and the journal says what.
SuccessExitStatus=1
"""
_PATH = """\
# Starts tracejail-update.service when packages were changed: /etc/systemd/system/tracejail-update.path
[Unit]
Description=Watch the package data base for jails

[Path]
PathChanged=/var/lib/dpkg/status
PathChanged=/lib/apk/db/installed

[Install]
WantedBy=multi-user.target
"""
_TIMER = """\
# Starts tracejail-update.service each night: /etc/systemd/system/tracejail-update.timer
[Unit]
Description=Bring jails to what the host has, each night

[Timer]
OnCalendar=daily
RandomizedDelaySec=30min
Persistent=true

[Install]
WantedBy=timers.target
"""
_HOOKS = {"apt": _APT, "systemd-service": _SERVICE, "systemd-path": _PATH, "systemd-timer": _TIMER}


def hook(name: str) -> str:
    """The text, with the command as it can be called from anywhere."""
    found = shutil.which("tracejail")
    # -P: else python looks for the package in the working directory first, and that is anybody's.
    command = [os.path.abspath(found)] if found else [os.path.abspath(sys.executable), "-P", "-m", "tracejail"]
    words = shlex.join(command)
    return _HOOKS[name].replace("%COMMAND%", words if name == "apt" else words.replace("%", "%%"))
