"""Other names of a file: the mounts that show it at another path, and its hard links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath

from agent.base.host import Host
from agent.base.linux.file_systems import Mount, mount_of, mounted

_MOST_ENTRIES = 2_000_000
"""Entries of a file system that are looked at for hard links; a million takes some seconds."""


class OtherNames:
    """Finds names of files on one host. A file system is searched once, and only if a file has several links."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._linked: dict[str, Mapping[int, tuple[PurePosixPath, ...]]] = {}

    def of(self, real: PurePosixPath, links: int) -> tuple[tuple[PurePosixPath, ...], str]:
        """Return the further names of a path without symlinks, and why there can be more; `links` is its number."""
        names, unfound = [real], ""
        if links > 1:
            names = [*dict.fromkeys((real, *self._hard_links(real)))]
            unfound = f"{links - len(names)} of its {links} hard links could not be found" if len(names) < links else ""
        every = dict.fromkeys((*names, *(other for name in names for other in self._mounted_elsewhere(name))))
        return tuple(name for name in every if name != real), unfound

    @cached_property
    def _mounts(self) -> tuple[Mount, ...]:
        """All mounts of a live host; a tree of files has none that last."""
        process = "1" if self._host.pod_node else "self"
        path = PurePosixPath("/proc", process, "mountinfo")
        return mounted(self._host.tree.text_if_readable(path)) if self._host.is_live else ()

    def _mounted_elsewhere(self, real: PurePosixPath) -> Iterator[PurePosixPath]:
        mount = mount_of(self._mounts, real)
        if mount is None:
            return
        source = PurePosixPath(mount.root, real.relative_to(mount.point))
        inode = self._host.tree.inode(real)
        for other in self._mounts:
            if other.device == mount.device and other.point != mount.point and source.is_relative_to(other.root):
                name = PurePosixPath(other.point, source.relative_to(other.root))
                if self._host.tree.inode(name) == inode:  # else another mount covers it
                    yield name

    def _hard_links(self, real: PurePosixPath) -> tuple[PurePosixPath, ...]:
        mount = mount_of(self._mounts, real)
        whole = [other for other in self._mounts if mount is not None and other.device == mount.device]
        top = min(whole, key=lambda other: len(other.root)).point if whole else "/"
        if top not in self._linked:
            self._linked[top] = self._all_linked(PurePosixPath(top))
        found = self._host.tree.inode(real)
        return self._linked[top].get(found[1], ()) if found else ()

    def _all_linked(self, top: PurePosixPath) -> dict[int, tuple[PurePosixPath, ...]]:
        """Return the names of all files with several links on a file system, by inode."""
        found: dict[int, tuple[PurePosixPath, ...]] = {}
        device = self._host.tree.inode(top)
        points, root = {mount.point for mount in self._mounts}, self._host.root.rstrip("/")
        waiting, left = [top], _MOST_ENTRIES
        while waiting and left > 0:
            here = waiting.pop()
            try:
                with os.scandir(f"{root}{here}") as entries:
                    for entry in entries:
                        left -= 1
                        if entry.is_dir(follow_symlinks=False):
                            if str(here / entry.name) not in points:
                                waiting.append(here / entry.name)
                        elif entry.is_file(follow_symlinks=False):
                            seen = entry.stat(follow_symlinks=False)
                            if seen.st_nlink > 1 and stat.S_ISREG(seen.st_mode) and device and seen.st_dev == device[0]:
                                found[seen.st_ino] = (*found.get(seen.st_ino, ()), here / entry.name)
            except OSError:  # what cannot be listed is missing from the number of links
                continue
        return found
