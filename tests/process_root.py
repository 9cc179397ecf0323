"""The files of a process with its own mounts, reached from outside of its mount namespace."""

from __future__ import annotations

import os
from pathlib import Path


class ProcessRoot:
    """The root directory of a process; a subclass starts the process."""

    number: int
    """The id of the process."""

    def path(self, inside: str | Path) -> Path:
        """Return the path for this process of a file of the other one."""
        return Path(f"/proc/{self.number}/root{inside}")

    def write(self, inside: str | Path, content: str | bytes, mode: int = 0o644, uid: int = 0) -> Path:
        """Write a file; create missing directories with common modes."""
        path = self.path(inside)
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o755)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        if uid:
            os.chown(path, uid, uid)
        return path
