"""Replacement of a program that is a directory, on a host whose root directory is mounted somewhere here."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePosixPath

_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h


class Replacement:
    """The directory of a new program, the installed one, and one beside it for the copy of the new one."""

    def __init__(self, new: PurePosixPath, parent: str, installed: str, copy: str) -> None:
        self._new, self._installed, self._copy = Path(new), Path(parent, installed), Path(parent, copy)

    @property
    def is_done(self) -> bool:
        """Whether the installed program has all files of the new one that it runs from: those below bin/."""
        import filecmp

        new = self._new / "bin"
        files = [str(file.relative_to(new)) for file in filter(Path.is_file, new.rglob("*"))]
        return filecmp.cmpfiles(new, self._installed / "bin", files, shallow=False) == (files, [], [])

    def make_copy(self) -> None:
        """Copy the new program, and wait until the copy is on the disk. After an error, no copy is left."""
        self.remove_copy()
        self._copy.mkdir()
        try:
            for path in sorted(self._new.rglob("*")):
                target = self._copy / path.relative_to(self._new)
                if path.is_dir() and not path.is_symlink():
                    target.mkdir()
                else:
                    shutil.copy(path, target, follow_symlinks=False)
        except BaseException:
            self.remove_copy()
            raise
        os.sync()

    def remove_copy(self) -> None:
        """Remove the copy or, after the exchange, the previous program."""
        if self._copy.is_dir() and not self._copy.is_symlink():
            shutil.rmtree(self._copy, ignore_errors=True)
        else:  # rmtree would wait for a FIFO
            with suppress(FileNotFoundError):
                self._copy.unlink()

    def exchange(self) -> None:
        """Exchange the installed program and the copy."""
        exchange(self._installed, self._copy)


def exchange(first: Path, second: Path) -> None:
    """Exchange two directories in one step: also after a crash, each name has a complete one. Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(0, os.fsencode(first.absolute()), 0, os.fsencode(second.absolute()), _EXCHANGE):
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())} (renameat2 with RENAME_EXCHANGE)")
