"""The command `tracejail`: which subcommand, and the one place where errors become an exit status and two lines."""

from __future__ import annotations

import sys

from tracejail import __version__

_INTERRUPTED = 130


def main() -> int:
    """Run the command line; gives the exit status."""
    import os

    status = _guarded(sys.argv[1:])
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # it was said already, and the flush at exit must not fail again
    return status


def _guarded(words: list[str]) -> int:
    import os

    from tracejail.errors import TracejailError

    if sys.stdout is None and words[:1] == ["run"]:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # what it starts may do without
    if sys.stdout is None:
        return 5 if sys.stderr is None else _tell("standard output is closed", "send it to a file, or to /dev/null", 5)
    if hasattr(sys.stdout, "reconfigure"):  # a jail or an argument may have a name that the locale can't say
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if words[:1] == ["--version"]:
            print(f"tracejail {__version__}")
            return _flushed(0)
        from .commands import dispatch

        return _flushed(dispatch(words))
    except TracejailError as error:
        return _tell(error.message, error.hint, error.status)
    except KeyboardInterrupt as stop:
        return _tell(f"interrupted; {stop or 'nothing is left behind'}", "", _INTERRUPTED)
    except BrokenPipeError:
        return 141  # the reader went away
    except OSError as error:
        if os.environ.get("TRACEJAIL_DEBUG"):
            raise
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _tell(f"{name}{error.strerror or error}", "TRACEJAIL_DEBUG=1 shows where", 5)
    except Exception as error:
        if type(error).__name__ == "Interrupted":
            number = int(error.args[0])
            return _tell("interrupted; nothing is left behind", "", 128 + number)
        if os.environ.get("TRACEJAIL_DEBUG"):
            raise
        return _tell(f"internal error: {type(error).__name__}: {error}", "TRACEJAIL_DEBUG=1 shows where; please report it", 5)


def _flushed(status: int) -> int:
    """The status, once all is written. Raises BrokenPipeError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        return _tell(f"standard output: {error.strerror}", "see where it is sent to", 5)
    return status


def _tell(message: str, hint: str, status: int) -> int:
    import contextlib

    from .escape import escape

    with contextlib.suppress(OSError, AttributeError):  # it is closed, or full: the status tells
        _write(escape(message), escape(hint))
    return status


def _write(message: str, hint: str) -> None:
    sys.stderr.write(f"\r\x1b[Ktracejail: {message}\n" if sys.stderr.isatty() else f"tracejail: {message}\n")
    if hint:
        sys.stderr.write(f"  {hint}\n")
