"""The manifest as text: dumped one entry a line, loaded with distrust, merged and compared."""

from .diff import Difference, diff
from .dump import dump, pieces, write_manifest
from .load import load, read_manifest
from .merge import merge

__all__ = ["Difference", "diff", "dump", "load", "merge", "pieces", "read_manifest", "write_manifest"]
