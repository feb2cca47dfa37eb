"""A hostile target that swaps a directory and a symlink while files are brought beneath it."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from tracejail.errors import InputOutputError
from tracejail.jail.tree import Attributes, make_file, make_symlink, open_tree

TRIES = 20000


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "tree", tmp_path / "outside"
    for directory in (inside / "a" / "b", outside / "b"):
        directory.mkdir(parents=True)
    over = threading.Event()

    def flip() -> None:
        real, link = inside / "a", inside / "link"
        os.symlink(outside, link)
        while not over.is_set():
            # RENAME_EXCHANGE is one call: at each moment one of them is at the name.
            with contextlib.suppress(OSError):
                os.rename(real, inside / "aside")
                os.rename(link, real)
                os.rename(real, link)
                os.rename(inside / "aside", real)

    flipper = threading.Thread(target=flip)
    fd = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    tree = open_tree(fd, str(inside))
    written = refused = 0
    flipper.start()
    try:
        for number in range(TRIES):
            with contextlib.suppress(FileExistsError):
                try:
                    if number % 2:
                        make_file(tree, f"/a/b/{number}", b"content", Attributes(0o644, 0, 0, 0))
                    else:
                        make_symlink(tree, f"/a/b/{number}", "x", Attributes(0o777, 0, 0, 0))
                    written += 1
                except InputOutputError:
                    refused += 1
    finally:
        over.set()
        flipper.join()
        os.close(fd)
    assert os.listdir(outside / "b") == []
    assert os.listdir(outside) == ["b"]
    assert written, "the race never let a write through: the test shows nothing"
    assert refused, "the race never hit a write: the test shows nothing"
