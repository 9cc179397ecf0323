"""What K3s needs of the kernel: control groups, modules, and the device of the kernel log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import PurePosixPath

from agent.base.errors import HostError
from agent.base.host import Host, machine
from agent.base.linux.file_systems import KernelModule, Missing, disabled, in_kernel_configuration, lists_module
from agent.base.model import Location, Sysctl
from agent.base.value import Value, replace
from agent.k3s.config import MergedConfig
from agent.k3s.roles_and_versions import Role

_UNIFIED = PurePosixPath("/sys/fs/cgroup/cgroup.controllers")
_OWN_GROUPS = PurePosixPath("/proc/self/cgroup")
_KMSG = PurePosixPath("/dev/kmsg")
_BOOT_LINES = (PurePosixPath("/boot/firmware/cmdline.txt"), PurePosixPath("/boot/cmdline.txt"))
"""The command line of the kernel on a Raspberry Pi: since Debian 12, and before."""
_MODPROBE = tuple(map(PurePosixPath, ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")))
_ACCOUNTS = PurePosixPath("/etc/passwd")
_SUBORDINATE_IDS = (PurePosixPath("/etc/subuid"), PurePosixPath("/etc/subgid"))
_GETSUBIDS = tuple(map(PurePosixPath, ("/usr/bin/getsubids", "/bin/getsubids")))
"""The program that the kubelet asks (Debian: uidmap). Without it, the kubelet uses a range of its own."""
_LARGEST_LISTING = 4 * 1024 * 1024
"""Bytes of modules.dep or of a kernel configuration; those of distributions have less than 1 MiB."""


class ControlGroups(Value):
    """The controllers of control groups that K3s can use."""

    is_unified: bool
    """Whether only version 2 is mounted."""
    controllers: frozenset[str]
    source: PurePosixPath


class BootLine(Value):
    """The file with the command line of a Raspberry Pi's kernel."""

    path: PurePosixPath
    first_line: str
    other_lines: str


class NeededModule(Value):
    """A module that K3s needs, and for what."""

    module: KernelModule
    purpose: str
    is_certain: bool
    """Whether this node decides that it is needed; the server decides for an agent."""
    stops_k3s: bool = True
    """Whether K3s exits without it; otherwise it runs and enforces no NetworkPolicy."""
    missing: Missing | None = None
    """Why the kernel cannot use it; None if it can, or if that could not be determined."""


class IdRange(Value):
    """The users or groups of this host from which the kubelet gives each pod with `hostUsers: false` a range."""

    location: Location
    owner: str
    first: int
    count: int


class Kernel(Value):
    """What K3s finds of the kernel of this host."""

    control_groups: ControlGroups | None
    """None on a host tree, and if they could not be read."""
    boot_line: BootLine | None
    """None if this is no Raspberry Pi, and on a live host, where the controllers decide."""
    missing_modules: tuple[NeededModule, ...]
    kmsg_problem: str
    """Why /dev/kmsg cannot be read; empty if it can be."""
    kubelet_ranges: tuple[IdRange, ...]
    """Empty if the user `kubelet` does not exist, as the kubelet uses a range of its own then."""


_OVERLAY = KernelModule("overlay", "CONFIG_OVERLAY_FS")
_VXLAN = KernelModule("vxlan", "CONFIG_VXLAN")
_COMMENT = KernelModule("xt_comment", "CONFIG_NETFILTER_XT_MATCH_COMMENT")
_MULTIPORT = KernelModule("xt_multiport", "CONFIG_NETFILTER_XT_MATCH_MULTIPORT")
_SETS = (
    KernelModule("ip_set", "CONFIG_IP_SET"),
    KernelModule("ip_set_hash_ip", "CONFIG_IP_SET_HASH_IP"),
    KernelModule("ip_set_hash_net", "CONFIG_IP_SET_HASH_NET"),
    KernelModule("xt_set", "CONFIG_NETFILTER_XT_SET"),
)


def uses_overlayfs(config: MergedConfig) -> bool:
    """Return whether K3s' own containerd stores images with overlayfs."""
    snapshotter, runtime = config.scalar("snapshotter"), config.scalar("container-runtime-endpoint")
    return (
        not config.boolean("docker")
        and not (runtime and runtime.text)
        and (snapshotter is None or snapshotter.text in {"", "overlayfs"})
    )


def needed_modules(role: Role, config: MergedConfig) -> Iterator[NeededModule]:
    """Yield the modules that this configuration needs (k3s, pkg/agent/syssetup, flannel and netpol)."""
    if config.boolean("disable-agent"):
        return
    if uses_overlayfs(config):
        yield NeededModule(_OVERLAY, "the overlayfs snapshotter of containerd", is_certain=True)
    is_server = role is Role.SERVER
    backend = config.scalar("flannel-backend")
    if (backend is None or backend.text in {"", "vxlan"}) and not config.boolean("no-flannel"):
        yield NeededModule(_VXLAN, "flannel's back end vxlan", is_certain=is_server)
    if not config.boolean("disable-network-policy"):
        for module in (_COMMENT, _MULTIPORT, *_SETS):
            purpose, stops = "the network policy controller", module not in _SETS
            yield NeededModule(module, purpose, is_certain=is_server, stops_k3s=stops)


def read_kernel(host: Host, role: Role, config: MergedConfig, *, in_container: bool, sees_all: bool) -> Kernel:
    """Return the state of this host's kernel. In a container, the machine that runs it loads the modules.

    Without `sees_all`, this process does not see the modules and devices that K3s sees.
    """
    if not host.is_live:
        return Kernel(None, _boot_line(host), (), "", tuple(_kubelet_ranges(host)))
    files = _KernelFiles(host)
    needed = () if in_container or not sees_all else needed_modules(role, config)
    judged = (replace(module, missing=files.missing(module.module)) for module in needed)
    return Kernel(
        _control_groups(host),
        None,
        tuple(module for module in judged if module.missing is not None),
        machine.opening_problem(host.root, _KMSG) if host.runs_as_root and sees_all else "",
        tuple(_kubelet_ranges(host)),
    )


def _kubelet_ranges(host: Host) -> Iterator[IdRange]:
    """Yield the ranges of the user `kubelet` (kubernetes, pkg/kubelet/kubelet_pods.go, getKubeletMappings)."""
    account = re.search(r"^kubelet:[^:]*:(\d+):", host.tree.text_if_readable(_ACCOUNTS), re.MULTILINE)
    if account is None or not any(map(host.tree.exists, _GETSUBIDS)):
        return
    for path in _SUBORDINATE_IDS:
        for number, line in enumerate(host.tree.text_if_readable(path).splitlines(), 1):
            found = re.fullmatch(rf"(kubelet|{account[1]}):(\d{{1,20}}):(\d{{1,20}})\s*", line, re.ASCII)
            if found:
                yield IdRange(Location(path, number), found[1], int(found[2]), int(found[3]))


def _control_groups(host: Host) -> ControlGroups | None:
    with suppress(HostError):
        unified = host.tree.read(_UNIFIED)
        if unified is not None:
            return ControlGroups(is_unified=True, controllers=frozenset(unified.decode().split()), source=_UNIFIED)
        own = host.tree.read(_OWN_GROUPS)
        if own is not None:
            fields = (line.split(":") for line in own.decode(errors="replace").splitlines())
            names = (name for row in fields if len(row) > 1 for name in row[1].split(","))
            return ControlGroups(is_unified=False, controllers=frozenset(names), source=_OWN_GROUPS)
    return None


def _boot_line(host: Host) -> BootLine | None:
    for path in _BOOT_LINES:
        first, _, rest = host.tree.text_if_readable(path).partition("\n")
        if "root=" in first:
            return BootLine(path, first, rest)
    return None


class _KernelFiles(Value):
    """The files that say which modules the running kernel has, read when they are needed."""

    host: Host

    def missing(self, module: KernelModule) -> Missing | None:
        """Return why a module cannot be used; None if it can be, or if no file decides."""
        tree = self.host.tree
        if tree.exists(PurePosixPath("/sys/module", module.name)):
            return None
        configured = in_kernel_configuration(self.configuration, module.option) if self.configuration else ""
        if configured == "y" or lists_module(self.builtin, module.name):
            return None
        if lists_module(self.installed, module.name):
            return self.prevented(module)
        if configured == "n":
            return Missing.NOT_BUILT
        if not self.installed:
            return Missing.OTHER_KERNEL if configured == "m" or self.others_are_installed else None
        return Missing.NOT_INSTALLED if self.builtin else None

    def prevented(self, module: KernelModule) -> Missing | None:
        """Return why a module that is installed cannot be loaded; None if it can be."""
        if disabled(self.modprobe_lines, module.name):
            return Missing.DISABLED
        locked = self.host.sysctl("kernel.modules_disabled")
        return Missing.LOCKED if isinstance(locked, Sysctl) and locked.value == "1" else None

    @cached_property
    def release(self) -> str:
        found = self.host.sysctl("kernel.osrelease")
        return found.value if isinstance(found, Sysctl) else ""

    @cached_property
    def configuration(self) -> str:
        """The kernel's configuration; empty if it cannot be read."""
        import zlib

        with suppress(HostError, zlib.error, EOFError):
            compressed = self.host.tree.read(PurePosixPath("/proc/config.gz"))
            if compressed:
                return zlib.decompressobj(31).decompress(compressed, _LARGEST_LISTING).decode(errors="replace")
        with suppress(HostError):
            plain = self.host.tree.read(PurePosixPath(f"/boot/config-{self.release}"), _LARGEST_LISTING)
            return (plain or b"").decode(errors="replace")
        return ""

    @cached_property
    def builtin(self) -> str:
        """The list of the modules that are parts of the kernel; empty if it cannot be read."""
        return self._listing("modules.builtin")

    @cached_property
    def installed(self) -> str:
        """The list of the modules of the running kernel; empty if it cannot be read."""
        return self._listing("modules.dep")

    def _listing(self, name: str) -> str:
        with suppress(HostError):
            if re.fullmatch(r"[\w.+~-]+", self.release):
                data = self.host.tree.read(PurePosixPath("/lib/modules", self.release, name), _LARGEST_LISTING)
                return (data or b"").decode(errors="replace")
        return ""

    @cached_property
    def others_are_installed(self) -> bool:
        """Whether there are modules of another kernel, but none of the running one."""
        with suppress(HostError):
            return bool(set(self.host.tree.names(PurePosixPath("/lib/modules"))) - {self.release})
        return False

    @cached_property
    def modprobe_lines(self) -> list[str]:
        """The lines of modprobe.d; a file hides those of the same name in later directories."""
        files: dict[str, PurePosixPath] = {}
        for directory in _MODPROBE:
            with suppress(HostError):
                for name in self.host.tree.names(directory):
                    if name.endswith(".conf"):
                        files.setdefault(name, directory / name)
        texts = (self.host.tree.text_if_readable(path) for _, path in sorted(files.items()))
        return [line for text in texts for line in text.splitlines()]
