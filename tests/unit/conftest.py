"""A host root of a few files, for the tests of units."""

from __future__ import annotations

from pathlib import Path

import pytest
from roots import Make

from tracejail.resolve.host import HostRoot, open_host_root


@pytest.fixture()
def make(tmp_path: Path) -> Make:
    """A host root of files by path; a value that begins with "->" is the target of a link."""

    def build(**files: str) -> HostRoot:
        given = {
            "etc/passwd": "root:x:0:0::/root:/bin/bash\nweb:x:33:34::/var/www:/usr/sbin/nologin\n"
            "ann:x:1000:1000::/home/ann:/bin/sh\n",
            "etc/group": "root:x:0:\nweb:x:34:\nssl:x:50:web\nlog:x:51:\nann:x:1000:\n",
            "usr/bin/tool": "#!", **files,
        }
        for path, text in given.items():
            at = tmp_path / path
            at.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                at.symlink_to(text[2:])
            else:
                at.write_text(text)
        return open_host_root(str(tmp_path))

    return build
