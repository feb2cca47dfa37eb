"""The manifest as text: dumped one entry a line, loaded with distrust, merged, selected from and compared."""

from .diff import Difference, diff
from .dump import dump, pieces, write_manifest
from .hosts import merge
from .load import load, read_manifest
from .merge import merge_runs
from .select import select

__all__ = [
    "Difference", "diff", "dump", "load", "merge", "merge_runs", "pieces", "read_manifest", "select", "write_manifest",
]
