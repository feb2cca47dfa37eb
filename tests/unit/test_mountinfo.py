"""Which mounts can be seen at a path and beneath it, whatever the order of the lines."""

from __future__ import annotations

from tracejail.kernel.mountinfo import MountLine, shown_at


def _line(number: int, parent: int, point: str) -> MountLine:
    return MountLine(point, "/", frozenset(), "tmpfs", f"of {number}", number, parent)


_ROOT = _line(27, 1, "/")


def _numbers(path: str, *lines: MountLine) -> list[int]:
    first, beneath = shown_at(path, lines)
    return [line.number for line in ((first,) if first else ()) + beneath]


def test_a_mount_that_was_moved_beneath_the_root_stands_before_it() -> None:
    assert _numbers("/", _line(22, 27, "/proc"), _line(24, 27, "/dev"), _line(25, 24, "/dev/shm"), _ROOT) == [27, 22, 24, 25]


def test_of_two_at_one_place_the_upper_one_is_seen() -> None:
    assert _numbers("/", _ROOT, _line(26, 27, "/dev"), _line(29, 26, "/dev")) == [27, 29]
    assert _numbers("/dev", _ROOT, _line(26, 27, "/dev"), _line(29, 26, "/dev")) == [29]


def test_what_was_mounted_beneath_before_is_covered() -> None:
    lines = (_ROOT, _line(30, 27, "/srv/jail/proc"), _line(31, 27, "/srv/jail"))
    assert _numbers("/srv/jail", *lines) == [31]
    assert _numbers("/", *lines) == [27, 31]


def test_beneath_a_jail() -> None:
    lines = (_ROOT, _line(30, 27, "/srv/jail/proc"), _line(31, 27, "/srv/jailed"), _line(32, 27, "/srv/jail/dev/null"))
    assert _numbers("/srv/jail", *lines) == [27, 30, 32]


def test_no_line_holds_it() -> None:
    assert _numbers("/srv", _line(30, 27, "/proc")) == []


def test_a_root_in_the_midst_of_a_mount_has_those_beneath_it() -> None:
    lines = (_line(30, 27, "/proc"), _line(31, 27, "/run"), _line(32, 31, "/run/lock"), _line(33, 27, "/run/lock"))
    assert shown_at("/", lines)[0] is None
    assert _numbers("/", *lines) == [30, 31, 32]
