"""What can go wrong, and the exit code each kind ends the program with.

A message starts with "cannot" and names the thing, what was wanted and what was found; what to do about it is
the hint, kept apart so that every presenter can set it off.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The same for every verb; docs/reference/exit-codes.md is generated from the meanings."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """A member is its number, with the meaning beside it."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    COMPLIANT = 0, "the host is as wanted"
    ERROR = 1, "an error; nothing was changed, or everything was undone"
    USAGE = 2, "wrong usage or invalid settings; nothing was touched"
    NOT_COMPLIANT = 3, "differences, open controls, or findings that would keep K3s from starting or undo the hardening"
    PARTIAL = 4, "partly applied; the report says what is left"
    LOCKED = 5, "another run holds the lock"
    ENVIRONMENT = 6, "this environment cannot be changed from here; change it on the host that runs it"


class HardenError(Exception):
    """Base of all errors that a user can cause; anything else is a bug.

    `message` is one line that starts with "cannot"; `hint` says what to do and may be empty.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class HostError(HardenError):
    """The host refused an operation: permissions, a full disk, a path that is not what it should be."""


class NotEmptyError(HostError):
    """A directory cannot be removed, since it holds files of others."""


class UsageError(HardenError):
    """An option or a combination of options makes no sense here."""

    exit_code = ExitCode.USAGE


class InputError(HardenError):
    """A file that a person wrote cannot be used: `where` is `path` or `path:line`."""

    exit_code = ExitCode.USAGE

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        super().__init__(f"cannot use {where}: {problem}", hint)
        self.where = where
        self.problem = problem


class LockHeldError(HardenError):
    """Another run holds the lock and did not let go in time."""

    exit_code = ExitCode.LOCKED


class ReadOnlyEnvironmentError(HostError):
    """The kernel or a mount forbids the write to everyone here, as in a container with a read-only /proc/sys."""

    exit_code = ExitCode.ENVIRONMENT
