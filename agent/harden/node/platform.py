"""Operating system of this host: container, read-only mounts, and the files and program that set kernel parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.host.directories import MOST_FILES, DirectoryEntry, too_many
from agent.base.linux import file_systems
from agent.base.linux.file_systems import CHARACTER_DEVICE, DIRECTORY, Mount
from agent.base.linux.sysctl_order import (
    CREDENTIALS,
    DIRECTORIES,
    LONGEST_PATTERN,
    MOST_BYTES,
    MOST_PATTERNS,
    SYSCTL_CONF,
    SysctlFile,
    SysctlReader,
    patterns,
)
from agent.base.model import Sysctl
from agent.base.repair import Instruction
from agent.base.report import KERNEL, OPERATING_SYSTEM, Fact
from agent.base.value import Value
from agent.k3s.services import OPENRC_DIRECTORY


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
                Instruction("write the keys without them"),
            )

    @staticmethod
    def _require(path: PurePosixPath, what: str, number: int, limit: int) -> None:
        if number > limit:
            message = f"cannot read {path}: the files of sysctl.d have more than {limit} {what} up to it"
            raise HostError(message, Instruction("make these files smaller"))


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


_MOUNTINFO = PurePosixPath("/proc/1/mountinfo")


class Platform(Value):
    """The operating system below K3s."""

    boot_reader: SysctlReader = SysctlReader.SYSTEMD
    """The program that applies sysctl.d at boot."""
    has_kernel: bool = True
    """Whether the kernel parameters of this host can be read: False for a host tree that is not live."""
    etc_is_read_only: bool = False
    """Whether /etc is on a read-only mount."""
    kernel_is_read_only: bool = False
    """Whether /proc/sys is on a read-only mount, as in a container."""
    container: str = ""
    """The manager of the container in which this program runs; empty outside a container."""
    has_cgroup_v1: bool = False
    """Whether control groups have version 1, or both versions; False if that could not be determined."""


def detect_platform(host: Host) -> tuple[Platform, tuple[Fact, ...]]:
    """Return the platform, and the facts of it for reports."""
    reader, reader_source = _boot_reader(host)
    container, container_source = container_manager(host)
    platform = Platform(
        boot_reader=reader,
        has_kernel=host.has_kernel,
        etc_is_read_only=_is_read_only(host, PurePosixPath("/etc")),
        kernel_is_read_only=_is_read_only(host, PurePosixPath("/proc/sys")),
        container=container,
        has_cgroup_v1=host.has_kernel and _has_cgroup_v1(host),
    )
    return platform, (
        Fact("sysctl.d read by", reader.value, reader_source),
        Fact("container", container or "no", container_source),
        Fact("/etc", "read-only" if platform.etc_is_read_only else "writable", "the flags of its mount"),
    )


def live_mounts(host: Host) -> tuple[Mount, ...]:
    """Return the mounts of the first process, which starts K3s: a sandbox or a pod has others. Raises HostError."""
    # A node with many pods has more mounts than the limit of a text.
    return file_systems.mounted((host.tree.read(_MOUNTINFO) or b"").decode(errors="replace"))


def _is_read_only(host: Host, path: PurePosixPath) -> bool:
    if not host.pod_node:
        return host.tree.is_read_only(path)
    with suppress(HostError):
        mount = file_systems.mount_of(live_mounts(host), path)
        return mount is not None and "ro" in mount.options
    return False


def _has_cgroup_v1(host: Host) -> bool:
    """Return whether the kubelet finds control groups of version 1: no cgroup2 at the mount point itself.

    Only cgroup2 has a file cgroup.controllers. With both versions, cgroup2 is mounted below (opencontainers/cgroups).
    """
    mounted = PurePosixPath("/sys/fs/cgroup")
    return host.tree.exists(mounted / "memory") and not host.tree.exists(mounted / "cgroup.controllers")


def system_facts(host: Host) -> tuple[Fact, ...]:
    """Return the name of the distribution and the release of the running kernel, as far as they can be read."""
    facts = []
    for path, values in os_releases(host):
        name = values.get("PRETTY_NAME") or values.get("NAME", "")
        if name:
            facts.append(Fact(OPERATING_SYSTEM, name, str(path)))
            break
    kernel = host.sysctl("kernel.osrelease")
    if isinstance(kernel, Sysctl):
        facts.append(Fact(KERNEL, kernel.value, "/proc/sys/kernel/osrelease"))
    return tuple(facts)


def os_releases(host: Host) -> Iterator[tuple[PurePosixPath, dict[str, str]]]:
    """Yield the files of os-release(5) with their values, without quotes."""
    for path in (PurePosixPath("/etc/os-release"), PurePosixPath("/usr/lib/os-release")):
        rows = (line.partition("=") for line in host.tree.text_if_readable(path).splitlines())
        yield path, {key: value.strip().strip("\"'") for key, _, value in rows}


def container_manager(host: Host) -> tuple[str, str]:
    """Return the container manager, or an empty text outside a container, and the source.

    systemd writes the manager's name to a world-readable file; Docker and Podman create a file of their own.
    """
    path = PurePosixPath("/run/systemd/container")
    name = host.tree.text_if_readable(path).strip()
    if name:
        return name, str(path)
    for marker, manager in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if host.tree.exists(PurePosixPath(marker)):
            return manager, marker
    return "", f"no {path}"


def _boot_reader(host: Host) -> tuple[SysctlReader, str]:
    for path in (PurePosixPath("/usr/lib/systemd/systemd-sysctl"), PurePosixPath("/lib/systemd/systemd-sysctl")):
        if host.tree.exists(path):
            return SysctlReader.SYSTEMD, str(path)
    if host.tree.names(OPENRC_DIRECTORY) and not host.tree.names(PurePosixPath("/usr/lib/systemd")):
        return SysctlReader.PROCPS, f"{OPENRC_DIRECTORY} and no systemd"
    return SysctlReader.SYSTEMD, "assumed"
