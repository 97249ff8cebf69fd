"""What can go wrong, as a person should hear it: what, where, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AdminError",
    "BindError",
    "ConfigError",
    "EngineError",
    "InstanceError",
    "Problem",
    "SteelyardError",
    "UsageError",
]


class SteelyardError(Exception):
    """The root of every error that is reported to a person.

    `message` is one lower-case line without a full stop, `hint` says what to do, `exit_code` is what the
    command ends with: 1 it failed while running, 2 the usage or the configuration is wrong.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(SteelyardError):
    """The command was asked for something that does not make sense."""

    exit_code = 2


class BindError(SteelyardError):
    """An address cannot be listened on."""


class EngineError(SteelyardError):
    """The engine has stopped for a fault of its own."""


class InstanceError(SteelyardError):
    """Another instance holds the admin socket, or none could be found."""


class AdminError(SteelyardError):
    """A running instance refused what it was asked, or answered nothing usable."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration. `line` and `column` count from 1; None where there is no such place."""

    message: str
    key: str | None = None
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """`file:line:column: key: reason`, and the hint on a line of its own."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return text if self.hint is None else f"{text}\nhint: {self.hint}"


class ConfigError(SteelyardError):
    """A configuration that is refused, with everything that is wrong with it."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
