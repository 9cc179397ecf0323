"""Errors and the exit code of each kind.

A message is one line that starts with "cannot", and contains the object, the found and the expected value.
The steps are the remediation; presenters print them on their own lines.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Step


class ExitCode(IntEnum):
    """The exit codes of every verb; docs/reference/exit-codes.md is generated from the meanings."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Make a member from its number and meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    COMPLIANT = 0, "host is compliant"
    ERROR = 1, "error; nothing was changed, or every change was undone"
    USAGE = 2, "invalid usage or settings; nothing was changed"
    NOT_COMPLIANT = 3, "not compliant: differences, failed or undetermined controls, or findings of level error"
    PARTIAL = 4, "partially applied; the report lists what is left"
    LOCKED = 5, "another run holds the lock"
    ENVIRONMENT = 6, "this environment does not allow the change, such as a read-only mount; nothing was changed"


class HardenError(Exception):
    """Base of all errors that a user can cause; any other exception is a bug.

    `message` is one line that starts with "cannot"; the steps are the remediation, if one is known.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(self, message: str, *steps: Step) -> None:
        super().__init__(message)
        self.message = message
        self.repair = Repair(steps)


class HostError(HardenError):
    """The host refused an operation, for example for missing permissions or a full disk."""


class RootRequiredError(HostError):
    """The verb needs root. The command line prints how to run it again."""


class AccessDeniedError(HostError):
    """The kernel denied access to this user. Root may have it."""


class LimitError(HostError):
    """A file or directory exceeds a limit of this program, but not those of the programs that read it."""


class NotEmptyError(HostError):
    """A directory cannot be removed because it contains files of other programs."""


class UsageError(HardenError):
    """An option or a combination of options is invalid. A text is what to change in this command line."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *steps: Step | str) -> None:
        super().__init__(message, *(Instruction(step) if isinstance(step, str) else step for step in steps))


class InputError(HardenError):
    """A file that a person wrote cannot be used."""

    exit_code = ExitCode.USAGE

    def __init__(self, location: Location, problem: str, *steps: Step) -> None:
        super().__init__(f"cannot use {location}: {problem}", *steps)
        self.location = location
        self.problem = problem


class LockHeldError(HardenError):
    """Another run held the lock for longer than the wait."""

    exit_code = ExitCode.LOCKED


class ReadOnlyEnvironmentError(HostError):
    """The kernel or a mount forbids the write to every user, as in a container with a read-only /proc/sys."""

    exit_code = ExitCode.ENVIRONMENT


class UnsupportedHostError(HardenError):
    """This host does not have what the verb needs, such as systemd."""

    exit_code = ExitCode.ENVIRONMENT
