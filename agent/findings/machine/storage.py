"""Findings about the file systems below K3s' data directory."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Edit, Instruction, Restart, Run
from agent.findings.config_edits import replaced
from agent.findings.machine.reason import may_fail, stops_k3s
from agent.findings.registry import Problem, edit_of_k3s_config, instruction, steps
from agent.harden.node.machine.kernel_facts import uses_overlayfs
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.linux.file_systems import Mount
    from agent.harden.node.machine.storage_facts import DataDirectory
    from agent.harden.situation import Situation

_LEAST_FREE = 0.05
"""The share of free space at which K3s' kubelet evicts pods: nodefs.available<5% (k3s, pkg/daemons/agent)."""
_NO_SPACE = 1024 * 1024
"""Bytes. With less, K3s can write neither its programs nor its database."""
_UNPACKED = 200 * 1024 * 1024
"""Bytes. The programs in K3s 1.23 and newer need more than this when they are unpacked."""
_NOT_FOR_OVERLAYFS = frozenset({"overlay", "nfs", "nfs4"})


@stops_k3s(
    "exec: /var/lib/rancher/k3s/data/…/bin/k3s-server: permission denied",
    on_trees=True,
    source="seen on the kernel: cmd/k3s/main.go, stageAndRun; #7296, #7372",
    repair="mount the file system of the data directory with `exec`",
)
def data_dir_noexec(situation: Situation) -> Iterator[Problem]:
    """The file system of K3s' data directory is mounted with `noexec`, so K3s cannot execute the programs it unpacks.

    K3s' program unpacks itself into `data/` below its data directory and executes what it unpacked. It looks below
    /var/lib/rancher/k3s first, also if `data-dir` names another directory.
    """
    for directory in situation.machine.storage.directories:
        if directory.mount is not None and "noexec" in directory.mount.options:
            yield _mounted_with("noexec", "exec", directory, directory.mount, situation)


@stops_k3s(
    'extracting data: …: read-only file system; "k3s-server": executable file not found in $PATH',
    on_trees=True,
    source="seen on the kernel: cmd/k3s/main.go, extract; #6474",
    repair="mount the file system of the data directory with `rw`",
)
def data_dir_read_only(situation: Situation) -> Iterator[Problem]:
    """The file system of K3s' data directory is read-only, so K3s can neither unpack its programs nor store data."""
    for directory in situation.machine.storage.directories:
        mount = directory.mount
        if directory.path == situation.facts.data_dir and mount is not None and "ro" in mount.options:
            yield _mounted_with("ro", "rw", directory, mount, situation)


def _mounted_with(option: str, needed: str, directory: DataDirectory, mount: Mount, situation: Situation) -> Problem:
    point = shlex.quote(mount.point)
    keep = Instruction(f"replace `{option}` by `{needed}` for {mount.point} in /etc/fstab or in its mount unit")
    now = (Run(f"sudo mount -o remount,{needed} {point}"),) if situation.machine.is_live else ()
    message = f"the file system of {directory.path} is mounted with `{option}`"
    fix = steps(
        *now,
        keep,
        alternative=instruction(
            "set `data-dir` in K3s' configuration to a directory on another file system, and move the data there",
            restart=Restart.K3S,
        ),
    )
    return Problem(message, f"{mount.point} mounted with `{needed}`", option, repair=fix)


@stops_k3s(
    "extracting data: …: no space left on device",
    on_trees=False,
    source="seen on the kernel: cmd/k3s/main.go, extract; #2372",
    repair="free space or inodes on the file system of the data directory",
)
def data_dir_full(situation: Situation) -> Iterator[Problem]:
    """The file system of K3s' data directory has no space or no inodes for the programs that K3s unpacks."""
    for directory in situation.machine.storage.directories:
        space = directory.space
        if directory.path != situation.facts.data_dir or space is None or directory.mount is None:
            continue
        needed = _NO_SPACE if directory.has_programs else _UNPACKED
        if space.inodes and not space.free_inodes:
            yield _lacks_space(directory, directory.mount, "full", "no free inodes", "free inodes")
        elif space.free < needed:
            free, least = f"{space.free // 2**20} MiB free", f"at least {needed // 2**20} MiB"
            yield _lacks_space(directory, directory.mount, "full", free, least)


@may_fail(
    "the node has the condition DiskPressure, and its pods are evicted",
    on_trees=False,
    source="from source: pkg/daemons/agent/agent.go: nodefs.available<5%",
    repair="free space on the file system of the data directory",
)
def data_dir_nearly_full(situation: Situation) -> Iterator[Problem]:
    """Less than 5 % of the data directory's file system is free, so the kubelet evicts pods (DiskPressure)."""
    for directory in situation.machine.storage.directories:
        space, mount = directory.space, directory.mount
        if directory.path != situation.facts.data_dir or space is None or mount is None or not space.size:
            continue
        is_full = space.free < (_NO_SPACE if directory.has_programs else _UNPACKED)
        sets_eviction = situation.facts.merged_config.argument(Component.KUBELET, "eviction-hard")
        if not is_full and space.available < _LEAST_FREE * space.size and not sets_eviction:
            free = f"{100 * space.available / space.size:.1f} % free"
            yield _lacks_space(directory, mount, "nearly full", free, "at least 5 %")


def _lacks_space(directory: DataDirectory, mount: Mount, state: str, found: str, expected: str) -> Problem:
    point = shlex.quote(mount.point)
    commands = (
        Run(f"df -h {point}"),
        Run(f"sudo du -xh --max-depth=2 {point} | sort -h | tail"),
    )
    fix = steps(*commands, Instruction(f"free space on {mount.point}, or enlarge it"))
    return Problem(f"the file system of {directory.path} is {state}", expected=expected, found=found, repair=fix)


@stops_k3s(
    '"overlayfs" snapshotter cannot be enabled for "/var/lib/rancher/k3s/agent/containerd"',
    on_trees=True,
    source="seen on the kernel: pkg/daemons/executor, overlayutils.Supported; #3266, #12673, #2755, #495",
    repair="set `snapshotter: native`, or a data directory on another file system",
)
def snapshotter_unsupported(situation: Situation) -> Iterator[Problem]:
    """The file system of containerd's images does not support the overlayfs snapshotter, which K3s uses by default.

    These are overlay itself, NFS, and XFS without the types of files in directories (`ftype=0`).
    """
    storage, config = situation.machine.storage, situation.facts.merged_config
    mount = storage.images
    if mount is None or config.boolean("disable-agent") or not uses_overlayfs(config):
        return
    lacks_types = storage.images_lack_file_types
    if mount.kind in _NOT_FOR_OVERLAYFS or lacks_types:
        images = situation.facts.data_dir / "agent/containerd"
        message = f"the overlayfs snapshotter does not work on the file system of {images}"
        found = f"{mount.kind}{' with ftype=0' if lacks_types else ''} at {mount.point}"
        set_now, at = config.scalar("snapshotter"), Location(situation.facts.configuration.path)
        new = Edit(at, new="snapshotter: native")
        fix = edit_of_k3s_config(replaced(situation, set_now.location, set_now.text, "native") if set_now else new)
        yield Problem(message, "a file system such as ext4, or XFS with ftype=1", found, repair=fix)
