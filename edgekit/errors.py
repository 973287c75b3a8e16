"""Every error that edgekit raises on purpose, and the exit code each one ends the command with.

The exit codes are part of the API:

| code | meaning                                                            | class             |
|------|--------------------------------------------------------------------|-------------------|
| 0    | done                                                               |                   |
| 1    | a valid "no": what was asked for can't be promised of this model    | `NotMetError`     |
| 2    | usage: an option or argument that doesn't fit                       | `UsageError`      |
| 3    | a model or data file that can't be read                             | `UnreadableError` |
| 4    | a runtime or device that failed                                     | `RuntimeFailure`  |
| 5    | something missing on this machine, with the line that installs it   | `MissingError`    |
| 130  | interrupted (Ctrl-C)                                                |                   |
"""

from __future__ import annotations

EXIT_INTERRUPTED = 130


class EdgekitError(Exception):
    """The base of all errors raised on purpose.

    Attributes:
        message: What is wrong, and where.
        hint: What to do next, or None where there is nothing to say.
        exit_code: The code the command line ends with.
    """

    exit_code = 4

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[EdgekitError], tuple[str, str | None]]:
        return type(self), (self.message, self.hint)


class NotMetError(EdgekitError):
    """A valid "no": a budget, a promise or a check that this model doesn't meet."""

    exit_code = 1


class UsageError(EdgekitError):
    """An option or argument that is wrong, missing, or contradicts the model."""

    exit_code = 2


class UnreadableError(EdgekitError):
    """A model or data file that can't be read."""

    exit_code = 3


class RuntimeFailure(EdgekitError):
    """A runtime, a child process, a disk or a device that failed."""

    exit_code = 4


class MissingError(EdgekitError):
    """Something that isn't installed on this machine; the hint is the line that installs it."""

    exit_code = 5


#: Errors by class name: how a child process hands one to its parent.
BY_NAME: dict[str, type[EdgekitError]] = {
    cls.__name__: cls
    for cls in (NotMetError, UsageError, UnreadableError, RuntimeFailure, MissingError)
}
