"""Files on this host that set kernel parameters at boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import HardenError, HostError
from agent.host.tree import CHARACTER_DEVICE, DIRECTORY, DirectoryEntry
from agent.linux.sysctl_order import CREDENTIALS, DIRECTORIES, SYSCTL_CONF, SysctlFile

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.host import Host


def read_sysctl_files(host: Host, unreadable: list[HardenError]) -> tuple[SysctlFile, ...]:
    """Return the files of sysctl.d, sysctl.conf and credentials. Adds what could not be read to `unreadable`."""
    paths = [SYSCTL_CONF, *CREDENTIALS]
    for directory in DIRECTORIES:
        paths += [directory / name for name in host.tree.names(directory) if name.endswith(".conf")]
    files = [_read(host, path, unreadable) for path in paths]
    return tuple(file for file in files if file.data is not None or file.path.parent in DIRECTORIES)


def _read(host: Host, path: PurePosixPath, unreadable: list[HardenError]) -> SysctlFile:
    try:
        return SysctlFile(path, host.tree.read(path))
    except HostError as error:
        entry = host.tree.stat(path)
        if isinstance(entry, DirectoryEntry) and entry.kind in (CHARACTER_DEVICE, DIRECTORY):
            # A link to /dev/null masks a file: systemd-sysctl reads no line from it, nor from a directory.
            return SysctlFile(path, None)
        unreadable.append(error)
        return SysctlFile(path, None, is_readable=False)
