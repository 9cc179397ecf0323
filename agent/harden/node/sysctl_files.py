"""Files on this host that set kernel parameters at boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import HardenError, HostError
from agent.base.host.directories import MOST_FILES, DirectoryEntry, too_many
from agent.base.linux.file_systems import CHARACTER_DEVICE, DIRECTORY
from agent.base.linux.sysctl_order import (
    CREDENTIALS,
    DIRECTORIES,
    LONGEST_PATTERN,
    MOST_BYTES,
    MOST_PATTERNS,
    SYSCTL_CONF,
    SysctlFile,
    patterns,
)

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.base.host import Host


def read_sysctl_files(host: Host, unreadable: list[HardenError]) -> tuple[SysctlFile, ...]:
    """Return the files of sysctl.d, sysctl.conf and credentials. Adds what could not be read to `unreadable`."""
    paths = [SYSCTL_CONF, *CREDENTIALS]
    for directory in DIRECTORIES:
        found = [directory / name for name in host.tree.names(directory) if name.endswith(".conf")]
        if len(found) > MOST_FILES:
            unreadable.append(too_many(directory, len(found)))
        # The last ones are kept: they override the others.
        paths += found[-MOST_FILES:]
    limits = _Limits()
    files = [_read(host, path, limits, unreadable) for path in paths]
    return tuple(file for file in files if file.data is not None or file.path.parent in DIRECTORIES)


class _Limits:
    """The total of all files, and its limits."""

    def __init__(self) -> None:
        self._bytes = self._lines = 0

    def refuse(self, path: PurePosixPath, data: bytes) -> None:
        """Count a file. Raises HostError if it exceeds a limit."""
        self._bytes += len(data)
        self._require(path, "bytes", self._bytes, MOST_BYTES)
        found = patterns(data)
        self._lines += found.lines
        self._require(path, "lines with patterns", self._lines, MOST_PATTERNS)
        self._require(path, "bytes in a pattern", found.longest, LONGEST_PATTERN)
        if found.unsupported:
            raise HostError(
                f"cannot read {path}: it sets keys by a pattern with a brace, a backslash or a character class",
                "write the keys without them",
            )

    @staticmethod
    def _require(path: PurePosixPath, what: str, number: int, limit: int) -> None:
        if number > limit:
            message = f"cannot read {path}: the files of sysctl.d have more than {limit} {what} up to it"
            raise HostError(message, "remove what is not needed from these files")


def _read(host: Host, path: PurePosixPath, limits: _Limits, unreadable: list[HardenError]) -> SysctlFile:
    try:
        data = host.tree.read(path, MOST_BYTES)
        if data is not None:
            limits.refuse(path, data)
        return SysctlFile(path, data)
    except HostError as error:
        entry = host.tree.stat(path)
        if isinstance(entry, DirectoryEntry) and entry.kind in (CHARACTER_DEVICE, DIRECTORY):
            # A link to /dev/null masks a file: systemd-sysctl reads no line from it, nor from a directory.
            return SysctlFile(path, None)
        unreadable.append(error)
        return SysctlFile(path, None, is_readable=False)
