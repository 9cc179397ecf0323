"""A control group for one test in each hierarchy, so that the kubelet's groups are below it and are removed with it.

Control groups v1 and v2. Only v1 was tested on the machines of the developers.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_MOUNT_TYPES = ("cgroup", "cgroup2")


class Hierarchy(NamedTuple):
    """A mounted hierarchy of control groups."""

    mounted: Path
    kind: str
    options: str
    """The mount options that select it: its controllers, or none."""
    own: str
    """The group of this process, relative to the mount."""

    def mount_command(self) -> str:
        """Return the shell command that mounts the hierarchy in a control group namespace."""
        options = f"-o {self.options} " if self.options else ""
        return f"mkdir -p {self.mounted}; mount -t {self.kind} {options}{self.kind} {self.mounted}"


def hierarchies() -> list[Hierarchy]:
    own = _own_groups()
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        mounted, (kind, _, superblock) = Path(left.split()[4]), right.split()[:3]
        if kind not in _MOUNT_TYPES or not os.access(mounted, os.W_OK):
            continue
        controllers = [word for word in superblock.split(",") if word not in {"rw", "ro", "nsdelegate"}]
        key = "" if kind == "cgroup2" else next((word for word in controllers if word in own), "")
        if kind == "cgroup" and not key:
            continue
        selected = ",".join(word for word in controllers if word in own or word.startswith("name="))
        options = f"none,{selected}" if selected.startswith("name=") else selected
        found.append(Hierarchy(mounted, kind, "" if kind == "cgroup2" else options, own.get(key, "/")))
    return found


def create(name: str) -> list[Path]:
    """Create the group in every hierarchy, below the group of this process, and return the directories."""
    return [_create(hierarchy, name) for hierarchy in hierarchies()]


def enter(groups: list[Path], process: int) -> None:
    for group in groups:
        (group / "cgroup.procs").write_text(str(process), encoding="ascii")


def remove(groups: list[Path]) -> None:
    """Remove the groups with all groups below them, after their processes have ended."""
    for group in groups:
        deadline = time.monotonic() + 60
        while group.exists():
            for directory, _, _ in os.walk(group, topdown=False):
                try:
                    Path(directory).rmdir()
                except OSError:
                    # The kernel removes ended processes from their group a moment later.
                    if time.monotonic() > deadline:
                        raise
            time.sleep(0.05)


def _own_groups() -> dict[str, str]:
    """Return the group of this process by controller; version 2 has the empty name."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), group))
    return found


def _create(hierarchy: Hierarchy, name: str) -> Path:
    parent = hierarchy.mounted / hierarchy.own.lstrip("/")
    group = parent / name
    group.mkdir()
    # A process cannot enter a group of v1 that has no processors.
    for file in ("cpuset.cpus", "cpuset.mems"):
        if hierarchy.kind == "cgroup" and (parent / file).exists():
            (group / file).write_text((parent / file).read_text(encoding="ascii"), encoding="ascii")
    return group
