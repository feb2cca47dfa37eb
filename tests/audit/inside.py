"""Runs in a mount namespace of its own, where the jail lies at /mnt/jail beneath directories that are root's alone:
audit, its remedies, and audit again. `python -m tests.audit.inside SHELL RULE PATH WORD...`"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from typing import Any

from tracejail.cli.commands import dispatch

_NOT_OF_THE_JAIL = ("#", "tracejail ", "apt-get ", *(() if shutil.which("setfacl") else ("setfacl ",)))


def said(words: list[str]) -> dict[str, Any]:
    """What audit says, by the words of its command line."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        dispatch(["audit", "--json", *words])
    document: dict[str, Any] = json.loads(told.getvalue())
    return document


def main() -> None:
    shell, rule, path, *words = sys.argv[1:]
    if shell:
        subprocess.run(["sh", "-ec", shell], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    first = said(words)
    remedy = next((each["remedy"] for each in first["findings"] if (each["rule"], each["path"]) == (rule, path)), None)
    commands = [line for line in remedy or () if not line.startswith(_NOT_OF_THE_JAIL)]
    for command in commands:
        subprocess.run(["bash", "-ec", command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(json.dumps({"first": first, "commands": commands, "again": said(words) if commands else None}))


if __name__ == "__main__":
    main()
