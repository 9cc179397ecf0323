"""The file systems below K3s' data directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from agent.base.errors import HostError
from agent.base.host import Host, machine
from agent.base.host.directories import DirectoryEntry
from agent.base.host.machine import Space
from agent.base.linux import file_systems
from agent.base.linux.file_systems import Mount
from agent.base.linux.unit_files import assignments
from agent.base.model import Location
from agent.base.value import Value
from agent.harden.node.platform import live_mounts
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_BINARY
from agent.k3s.services import K3sUnit

_ENFORCE = PurePosixPath("/sys/fs/selinux/enforce")
_SELINUX_CONFIG = PurePosixPath("/etc/selinux/config")
_SELINUX_CONTEXTS = PurePosixPath("/etc/selinux/targeted/contexts/files/file_contexts")
_NOT_STARTED_BY_INIT = frozenset({"admin_home_t", "default_t", "tmp_t", "user_home_t", "user_tmp_t"})
"""Types of files in home and temporary directories, which mv(1) keeps. systemd may not execute these files."""

_MACHINES = {
    "aarch64": {0xB7, 0x28},
    "armv7l": {0x28},
    "ppc64le": {0x15},
    "riscv64": {0xF3},
    "s390x": {0x16},
    "x86_64": {0x3E, 0x03},
}
"""Numbers of machines in ELF headers (elf(5)) whose programs a kernel runs, by its name in uname(2)."""
_HEADER = 20
_BYTE_ORDER = 5
_MACHINE = slice(18, 20)

_FAPOLICYD = PurePosixPath("/etc/fapolicyd")
_NM_CLOUD_SETUP = "nm-cloud-setup.service"


class Program(Value):
    """What keeps K3s' program from running; empty texts if nothing does."""

    path: PurePosixPath
    problem: str
    """Why the file cannot be executed."""
    selinux_type: str
    """The type in its SELinux label, if systemd may not execute it."""
    lacks_selinux_policy: bool
    """Whether SELinux is enforcing without the policy of the package k3s-selinux."""
    fapolicyd_rules: PurePosixPath | None
    """The rules of an enforcing fapolicyd that do not mention the data directory."""
    nm_cloud_setup: Location | None
    """The line of K3s' unit that fails while nm-cloud-setup is enabled."""


def read_program(host: Host, unit: K3sUnit | None, data_dir: PurePosixPath, enabled: frozenset[str]) -> Program:
    """Return what keeps the program of K3s' unit, or else of install.sh, from running."""
    path = unit.binary if unit is not None else K3S_BINARY
    enforcing = _enforces(host)
    commands = unit.settings.before_start if unit is not None and _NM_CLOUD_SETUP in enabled else ()
    label = machine.selinux_type(host.root, path) if enforcing and host.is_live else ""
    return Program(
        path=path,
        problem=_problem(host, path),
        selinux_type=label if label in _NOT_STARTED_BY_INIT else "",
        lacks_selinux_policy=enforcing and not _knows_k3s(host),
        fapolicyd_rules=_fapolicyd_rules(host, data_dir) if "fapolicyd.service" in enabled else None,
        nm_cloud_setup=next((command.location for command in commands if _NM_CLOUD_SETUP in command.text), None),
    )


def _problem(host: Host, path: PurePosixPath) -> str:
    found = host.tree.stat(path)
    if not isinstance(found, DirectoryEntry):
        return ""  # missing, or this user may not see it
    if found.kind != "regular file":
        return f"it is a {found.kind}"
    if not found.mode & 0o111:
        return f"nobody may execute it: mode {found.mode}"
    return _format_problem(host, machine.first_bytes(host.root, path, _HEADER) or b"#!")


def _format_problem(host: Host, start: bytes) -> str:
    """Return why the kernel does not execute a file that starts with these bytes."""
    if start.startswith(b"#!"):
        return ""
    if not start.startswith(b"\x7fELF") or len(start) < _HEADER:
        return "it is no program in the format ELF"
    number = int.from_bytes(start[_MACHINE], "little" if start[_BYTE_ORDER] == 1 else "big")
    kernel = machine.architecture()
    if host.is_live and number not in _MACHINES.get(kernel, {number}):
        return f"it is for another architecture than {kernel}"
    return ""


def _enforces(host: Host) -> bool:
    with suppress(HostError):
        if host.is_live:
            return host.tree.read_text(_ENFORCE).strip() == "1"
        return re.search(r"(?m)^\s*SELINUX=enforcing\s*$", host.tree.read_text(_SELINUX_CONFIG)) is not None
    return False


def _knows_k3s(host: Host) -> bool:
    """Return whether the policy has labels for K3s, as with k3s-selinux; True if that could not be determined."""
    with suppress(HostError):
        contexts = host.tree.read(_SELINUX_CONTEXTS)
        return contexts is None or b"rancher/k3s" in contexts
    return True


def _fapolicyd_rules(host: Host, data_dir: PurePosixPath) -> PurePosixPath | None:
    """Return where a rule is missing; None if fapolicyd only reports, or a rule or a trust file names the directory."""
    with suppress(HostError):
        if re.search(r"(?m)^\s*permissive\s*=\s*1", host.tree.read_text(_FAPOLICYD / "fapolicyd.conf")):
            return None
        rules = _FAPOLICYD / "rules.d"
        names = [rules / name for name in host.tree.names(rules)]
        trust = [_FAPOLICYD / "trust.d" / name for name in host.tree.names(_FAPOLICYD / "trust.d")]
        texts = [host.tree.read_text(path) for path in (*names, _FAPOLICYD / "fapolicyd.rules", *trust)]
        if not any(str(top) in text for text in texts for top in (data_dir, *tuple(data_dir.parents)[:-2])):
            return rules
    return None


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
