"""The settings of one unit, put together from its file and its drop-ins: what is assigned later wins, or adds to a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .host import HostRoot
from .specifiers import specifiers
from .unit_files import UnitFiles
from .unit_syntax import Assignment, Malformed, assignments, expand, split

_TRUE = ("1", "yes", "y", "true", "t", "on")


@dataclass(slots=True)
class Settings:
    """The values by section and setting, in their order; and what is said of those that are passed over."""

    known: dict[str, str]       # specifiers
    values: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    rows: list[Assignment] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def every(self, key: str, section: str = "Service") -> list[str]:
        """All values since the last empty one, as they are written."""
        values = self.values.get((section, key), [])
        empty = max((at for at, value in enumerate(values) if not value), default=-1)
        return values[empty + 1 :]

    def text(self, key: str, default: str = "", section: str = "Service") -> str:
        """The last value, or the default where there is none or an empty one."""
        values = self.values.get((section, key), [])
        return expand(values[-1], self.known) if values and values[-1] else default

    def flag(self, key: str, section: str = "Service") -> bool:
        """Whether a boolean is set; none is by default."""
        return self.text(key, section=section).lower() in _TRUE

    def words(self, key: str, section: str = "Service") -> Iterator[str]:
        """The words of all values."""
        for value in self.every(key, section):
            try:
                yield from (expand(word, self.known) for word in split(value))
            except Malformed as error:
                self.warnings.append(f"{key}= is passed over: {error}")


def settings_of(host: HostRoot, files: UnitFiles) -> Settings:
    """What the texts of a unit say."""
    settings = Settings(specifiers(host, files.name, files.paths[0] if files.paths else ""))
    for text in files.texts:
        for row in assignments(text):
            if isinstance(row, Assignment):
                settings.values.setdefault((row.section, row.key), []).append(row.value)
                settings.rows.append(row)
            else:
                settings.warnings.append(f"a line that is no setting: {row}")
    return settings
