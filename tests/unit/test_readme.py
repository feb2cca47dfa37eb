"""What the README says of the formats is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from tracejail.export.formats import FORMATS

README = Path(__file__).resolve().parents[2] / "README.md"


def table() -> str:
    """The rows as Markdown."""
    rows = [(f"`{name}`", row.about, f"`{row.takes}`") for name, row in FORMATS.items()]
    cells = [("format", "what it is", "taken by"), ("---",) * 3, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells)


def test_the_table_of_formats() -> None:
    assert table() in README.read_text("utf-8"), "make it anew: python -m tests.unit.test_readme"


def test_each_anchor_leads_somewhere() -> None:
    text = README.read_text("utf-8")
    heads = [line.lstrip("# ").lower() for line in text.splitlines() if line[:1] == "#"]
    anchors = {re.sub(r"[^a-z0-9 -]", "", head).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", text)) <= anchors


if __name__ == "__main__":
    written = README.read_text("utf-8")
    made = re.sub(r"\| format \| what it is.*?(?=\n\n)|@TABLE@", lambda _: table(), written, count=1, flags=re.DOTALL)
    README.write_text(made, "utf-8")
