"""The files of a host: how tests write, find and compare them, whatever makes the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple


class Entry(NamedTuple):
    """Type, mode, owner and content of a path. The owner is relative to the user that runs the tests, who is 0:0."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: bytes
    """Of a file; of a symlink its target."""


class Tree:
    """A host whose files are below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, inside: str | PurePath) -> Path:
        return self.root / str(inside).lstrip("/")

    def write(self, inside: str | PurePath, content: str | bytes = "", mode: int = 0o644, uid: int = 0) -> Path:
        """Write a file; create missing directories with common modes."""
        path = self.path(inside)
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o755)
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        if uid:
            os.chown(path, uid, uid)
        return path

    def entry(self, inside: str | PurePath) -> Entry | None:
        path = self.path(inside)
        if not os.path.lexists(path):
            return None
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            kind, content = "directory", b""
        elif stat.S_ISREG(found.st_mode):
            kind, content = "file", path.read_bytes()
        elif stat.S_ISLNK(found.st_mode):
            kind, content = "symlink", os.fsencode(path.readlink())
        else:
            kind, content = "special", b""
        owner = (found.st_uid - os.geteuid(), found.st_gid - os.getegid())
        return Entry(kind, stat.S_IMODE(found.st_mode), owner, content)

    def tree(self, *tops: str) -> dict[str, Entry]:
        return {name: entry for top in tops for name, entry in self._walk(top)}

    def _walk(self, top: str) -> Iterator[tuple[str, Entry]]:
        entry = self.entry(top)
        if entry is not None:
            yield top, entry
            if entry.kind == "directory":
                for path in sorted(self.path(top).iterdir()):
                    yield from self._walk(f"{top.rstrip('/')}/{path.name}")
