"""Whether this host lets K3s' program run: its file, SELinux, fapolicyd, and services that block it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host import machine
from agent.base.host.directories import DirectoryEntry
from agent.base.value import Value
from agent.k3s.roles_and_versions import K3S_BINARY

if TYPE_CHECKING:
    from agent.base.host import Host
    from agent.base.model import Location
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
