"""The import rules of the architecture, read off the syntax trees. Runs under pytest and by itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "tracejail"
MOST_LINES = 400

# Who may import which parts of tracejail; a layer that is not named may import what it likes but cli.
ALLOWED = {
    "kernel": {"kernel"},
    "model": set(),
    "errors": set(),
    "show": set(),
    "manifest": {"manifest", "model", "errors"},
    "importing": {"importing", "errors"},
    "export": {"export", "manifest", "model", "errors", "why"},
    "doctor": {"doctor", "model", "errors"},
    "audit": {"audit", "model", "errors"},
    "trace": {"trace", "kernel", "model", "errors"},
    "resolve": {"resolve", "kernel", "model", "errors"},
    "jail": {"jail", "kernel", "model", "errors"},
    "drift": {"drift", "model", "errors"},
    "trial": {"trial", "trace", "resolve", "jail", "kernel", "model", "errors", "show"},
}
# Third-party and ctypes: the one module (or layer) that may import it.
ONE_PLACE = {"ptrace": "kernel/ptrace.py", "elftools": "resolve/elf.py", "tabulate": "cli/report.py", "ctypes": "kernel/"}
NO_NAMES = {"utils", "common", "base", "helpers", "util", "misc"}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def imports(path: Path, tree: ast.Module) -> Iterator[str]:
    """Dotted names as imported, relative ones made absolute."""
    here = ["tracejail", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def faults() -> Iterator[str]:
    for path, tree in modules():
        name, where = layer(path), str(path.relative_to(PACKAGE))
        for imported in imports(path, tree):
            parts = imported.split(".")
            if parts[0] == "tracejail" and len(parts) > 1 and (PACKAGE / parts[1]).exists() | (
                PACKAGE / f"{parts[1]}.py"
            ).exists():
                if parts[1] == "cli" and name not in ("cli", "__main__"):
                    yield f"{where} imports cli"
                if name in ALLOWED and parts[1] not in ALLOWED[name]:
                    yield f"{where} imports {parts[1]}"
            place = ONE_PLACE.get(parts[0])
            if place and not (where == place or (place.endswith("/") and where.startswith(place))):
                yield f"{where} imports {parts[0]}"
        if path.stem in NO_NAMES or path.parent.name in NO_NAMES:
            yield f"{where}: a name that says nothing"
        lines = len(path.read_text("utf-8").splitlines())
        if lines > MOST_LINES and "Long because" not in (ast.get_docstring(tree) or ""):
            yield f"{where}: {lines} lines, and its docstring does not say why"


def test_import_rules() -> None:
    assert list(faults()) == []


def test_the_rules_see_a_fault() -> None:
    tree = ast.parse("from tracejail.resolve import host\nimport ctypes.util")
    found = set(imports(PACKAGE / "trace" / "decode.py", tree))
    assert {"tracejail.resolve", "tracejail.resolve.host", "ctypes.util"} <= found


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "import rules hold")
    sys.exit(bool(found))
