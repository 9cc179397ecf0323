"""Files and directories that a user names, as this user reads them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TextIO

from agent.base.errors import InputError
from agent.base.host.tree import READABLE
from agent.base.model import Location
from agent.base.repair import Instruction

_DEEPEST = 50
"""Levels of directories below a named one. os.walk calls itself for each level."""


@contextmanager
def opened_text(path: PurePosixPath) -> Iterator[TextIO]:
    """Open a regular file as text. Raises InputError if that fails, or if reading it fails meanwhile."""
    try:
        # A FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8", newline="\n") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(Location(path), "it is not a regular file", Instruction(READABLE))
            yield file
    except UnicodeDecodeError as error:
        raise InputError(Location(path), "it is not text in UTF-8") from error
    except OSError as error:
        raise InputError(Location(path), error.strerror or "it is not readable", Instruction(READABLE)) from error


def files_below(directory: PurePosixPath, ending: str) -> list[PurePosixPath]:
    """Return the files below a directory whose names have this ending, and directories that are not listed.

    Raises InputError if `directory` cannot be listed.
    """
    found: list[PurePosixPath] = []

    def note(error: OSError) -> None:
        if error.filename == str(directory):
            raise InputError(Location(directory), error.strerror or "it cannot be listed") from error
        found.append(PurePosixPath(error.filename))

    for path, directories, names in os.walk(directory, onerror=note):
        found += (directory / path / name for name in names if name.endswith(ending))
        found += (directory / path / name for name in directories if os.path.islink(f"{path}/{name}"))
        if path.count("/") - str(directory).count("/") >= _DEEPEST:
            found += (directory / path / name for name in directories)
            directories.clear()
    return sorted(found)


def is_directory(path: PurePosixPath) -> bool:
    """Return whether a path is a directory."""
    return os.path.isdir(path)
