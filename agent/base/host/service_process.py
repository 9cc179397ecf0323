"""A process that systemd or OpenRC made for a service: its command line, its variables and the files that it sees."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.paths import RootDirectory, reason_of
from agent.base.host.tree import Tree, read_descriptor
from agent.base.linux.file_systems import differs_by_process, mount_of, mounted
from agent.base.value import Value

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class ServiceProcess(Value, not_compared=("opened", "root", "tree", "host")):
    """A process as it is now. Equal to a later look at it if neither process nor variables nor directory changed."""

    pid: int
    words: tuple[str, ...]
    """Its command line."""
    variables: tuple[str, ...]
    """Its assignments, `NAME=value`."""
    directory: str
    """Its current directory, as its own root directory shows it; empty if that is not known."""
    opened: RootDirectory
    """Its directory in /proc: after the end of the process it cannot be read, even if another one has its number."""
    root: RootDirectory
    tree: Tree
    """The files below its root directory, with its mounts. Symlinks are resolved there."""
    host: Host

    @property
    def environment(self) -> dict[str, str]:
        """The variables by name."""
        return dict(text.split("=", 1) for text in self.variables if "=" in text)

    def absolute(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path below the root directory of the process; None if it depends on an unknown directory."""
        if path.is_absolute() or self.directory:
            return PurePosixPath("/", self.directory, path)
        return None

    def on_host(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path at which this host has the file that K3s sees at a path; None if it has none."""
        absolute = self.absolute(path)
        if absolute is None:
            return None
        real = self.tree.real_path(absolute)
        if differs_by_process(real):
            return None
        if self._is_same(real, absolute):
            return real if ".." in absolute.parts else absolute
        return next((place for place in self._places(real) if self._is_same(real, place)), None)

    def _is_same(self, seen: PurePosixPath, place: PurePosixPath) -> bool:
        """Return whether a path of the process and one of this host lead to one file, or would if it existed."""
        for here, there in zip((seen, *seen.parents), (place, *place.parents)):
            found = self.tree.inode(here), self.host.tree.inode(there)
            if any(found):
                return found[0] == found[1]
        return False

    def _places(self, real: PurePosixPath) -> list[PurePosixPath]:
        """Return the paths at which this host mounts what the process sees at a path without symlinks."""
        mount = mount_of(mounted(_read(self.opened.descriptor, "mountinfo").decode(errors="replace")), real)
        if mount is None:
            return []
        source = PurePosixPath(mount.root, real.relative_to(mount.point))
        return [
            PurePosixPath(other.point, source.relative_to(other.root))
            for other in mounted(self.host.tree.text_if_readable(PurePosixPath("/proc/self/mountinfo")))
            if other.device == mount.device and source.is_relative_to(other.root)
        ]


def service_process(host: Host, pid: int) -> ServiceProcess:
    """Read a process. Raises HostError if it has ended, or this program may not read it."""
    try:
        opened = RootDirectory(os.open(f"{host.root.rstrip('/')}/proc/{pid}", _DIRECTORY), None)
        top = opened.descriptor
        root = RootDirectory(os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top), None)
        tree = Tree("/", host.uid, host.gid, root)
        # In another root directory the link can name a path of this host (WorkingDirectory= with MountAPIVFS=no).
        directory = os.readlink("cwd", dir_fd=top)
        found = os.stat("cwd", dir_fd=top)
        is_known = tree.inode(PurePosixPath(directory)) == (found.st_dev, found.st_ino)
        words, variables = _read(top, "cmdline"), _read(top, "environ")
    except OSError as error:
        raise HostError(f"cannot read process {pid}: {reason_of(error)}") from error
    return ServiceProcess(
        pid, _texts(words), _texts(variables), directory if is_known else "", opened, root, tree, host
    )


def ancestors() -> tuple[int, ...]:
    """Return the parent of this process, and its next two ancestors."""
    found = [os.getppid()]
    try:
        for _ in range(2):
            with open(f"/proc/{found[-1]}/stat", "rb") as file:
                found.append(int(file.read().rpartition(b")")[2].split()[1]))
    except (OSError, ValueError, IndexError):  # a process has ended
        pass
    return tuple(found)


def _read(directory: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return read_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _texts(data: bytes) -> tuple[str, ...]:
    return tuple(data.decode(errors="surrogateescape").removesuffix("\0").split("\0"))
