"""The one error tree. Each class is an exit status of the command table; `cli` is the only place that catches them.

Every error is one line that names path and cause, and one line (`hint`) that says what to do.
"""


class TracejailError(Exception):
    """Base of all that a user can cause. `status` is the exit status of the process."""

    status = 5

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ExportError(TracejailError):
    """A format can't say what is in the manifest, or the manifest lacks what the format needs (exit 1)."""

    status = 1


class UsageError(TracejailError):
    """The command line or an input file makes no sense (exit 2)."""

    status = 2


class ManifestError(UsageError):
    """A manifest that can't be read, is cut short, or asks for what no manifest may ask for (exit 2)."""


class IncompleteError(TracejailError):
    """A limit or a time-out ended the work before it was done (exit 3)."""

    status = 3


class DeniedError(TracejailError):
    """The policy refuses it and no --allow says otherwise (exit 4)."""

    status = 4


class InputOutputError(TracejailError):
    """ENOSPC, EIO, a source that changes while it is copied, a tree that is in the way (exit 5)."""

    status = 5


class SourceChangedError(InputOutputError):
    """A file of the host is no longer what the manifest says of it (exit 5). `path` is its jail path."""

    def __init__(self, path: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.path = path


class KernelLacksError(TracejailError):
    """The kernel or the privileges at hand lack something, which the message names (exit 6)."""

    status = 6


class LockedError(TracejailError):
    """Another run works on this jail (exit 7)."""

    status = 7


class RunError(TracejailError):
    """A program is not started, before anything of it was: the statuses of env(1) and chroot(1) (exit 125)."""

    status = 125


class NotExecutableError(RunError):
    """It is there, and can't be executed (exit 126)."""

    status = 126


class NotThereError(RunError):
    """It is not in the jail (exit 127)."""

    status = 127
