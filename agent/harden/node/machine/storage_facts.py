"""The file systems below K3s' data directory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host import machine
from agent.base.linux import file_systems
from agent.base.linux.unit_files import assignments
from agent.base.value import Value
from agent.harden.node.platform import live_mounts
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.host import Host
    from agent.base.host.machine import Space
    from agent.base.linux.file_systems import Mount

_FSTAB = PurePosixPath("/etc/fstab")
_MOUNT_UNITS = PurePosixPath("/etc/systemd/system")
UNPACKED = "data/current"
"""The link to the programs that K3s unpacked last, relative to the data directory (k3s, cmd/k3s/main.go)."""


class DataDirectory(Value):
    """A directory into which K3s unpacks its programs, or where it looks for them."""

    path: PurePosixPath
    mount: Mount | None
    """The file system that contains it, now or, on a host tree, after the boot; None if it is not known."""
    space: Space | None
    """None on a host tree."""
    has_programs: bool
    """Whether K3s unpacked its programs here before."""


class Storage(Value):
    """What K3s stores its programs and images on."""

    directories: tuple[DataDirectory, ...]
    """The data directory, and the default one if it has the programs: K3s uses those (k3s, cmd/k3s/main.go)."""
    images: Mount | None
    """The file system of containerd's directory."""
    images_lack_file_types: bool
    """Whether that is an XFS without the types of files in directories."""


def read_storage(host: Host, data_dir: PurePosixPath, enabled: frozenset[str]) -> Storage:
    """Return the file systems of this host's data directory; `enabled` are the enabled units."""
    known = tuple(_mounts(host, enabled))
    images = _mount(host, known, data_dir / "agent/containerd")
    lacks_file_types = images is not None and images.kind == "xfs" and host.is_live
    return Storage(
        tuple(
            DataDirectory(path, _mount(host, known, path), _space(host, path), host.tree.exists(path / UNPACKED))
            for path in dict.fromkeys((data_dir, DEFAULT_DATA_DIR))
            if path == data_dir or host.tree.exists(path / UNPACKED)
        ),
        images,
        lacks_file_types
        and machine.has_file_types(host.root, _divided(host, data_dir / "agent/containerd")[0]) is False,
    )


def _space(host: Host, path: PurePosixPath) -> Space | None:
    return machine.space(host.root, _divided(host, path)[0]) if host.is_live else None


def _mount(host: Host, known: tuple[Mount, ...], path: PurePosixPath) -> Mount | None:
    existing, missing = _divided(host, path)
    return file_systems.mount_of(known, existing / missing)


def _divided(host: Host, path: PurePosixPath) -> tuple[PurePosixPath, PurePosixPath]:
    """Return the part of a path whose directories exist, without symlinks, and the rest."""
    for parent in (path, *path.parents):
        real = host.tree.real_directory(parent)
        if real is not None:
            return real, path.relative_to(parent)
    return PurePosixPath("/"), path.relative_to("/")


def _mounts(host: Host, enabled: frozenset[str]) -> Iterator[Mount]:
    """Yield the mounts that can be read: a file that cannot be is no reason for K3s to fail."""
    if host.is_live:
        with suppress(HostError):
            yield from live_mounts(host)
        return
    with suppress(HostError):
        yield from file_systems.from_fstab(host.tree.read_text(_FSTAB))
    for name in sorted(enabled):
        if name.endswith(".mount"):
            with suppress(HostError):
                values = {key: value for _, key, value in assignments(host.tree.read_text(_MOUNT_UNITS / name))}
                options = frozenset(values.get("Options", "").split(","))
                yield file_systems.Mount(values.get("Where", "/"), values.get("Type", ""), options)
