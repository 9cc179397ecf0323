"""A live host below a test directory on which K3s would start, and changes of it."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.base.host.process import Completed
from agent.base.host.sockets import Listener
from agent.base.report import Finding
from agent.base.value import replace
from agent.findings import collect_findings
from agent.findings.machine.reason import REASONS
from agent.harden.node.machine.identity_and_network_facts import ONLINE
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from tests.fake import Clock, Programs, fake_host
from tests.tree import Tree

RELEASE = "6.1.0-13-amd64"
MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:20 / /proc rw,nosuid,nodev,noexec - proc proc rw
"""
ROUTE = "Iface\tDestination\tGateway\nens3\t00000000\t0102A8C0\t0003\n"
SETS = ("ip_set", "ip_set_hash_ip", "ip_set_hash_net", "xt_set")
MODULES = ("overlay", "vxlan", "xt_comment", "xt_multiport", *SETS)
SHOW = ("/usr/bin/systemctl", "show", "--property=ActiveState", "--", ONLINE)
VERSION = ("/usr/local/bin/k3s", "--version")
X86_64 = 0x3E
ARM64 = 0xB7
TOKEN_HEADER = "K10" + "a" * 64


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)


@dataclass
class LiveHost(Tree):
    """A live host; each change is a file below `root`."""

    root: Path
    role: str = "server"
    network_state: str = "active"
    """What systemd answers about network-online.target."""
    listeners: tuple[Listener, ...] = ()
    k3s_version: str = "1.34"
    clock: Clock = field(default_factory=lambda: Clock(1_800_000_000))

    def __post_init__(self) -> None:
        """Create the files that a host has."""
        self.write("/proc/1/mountinfo", MOUNTINFO)
        self.write("/proc/1/net/route", ROUTE)
        self.write("/proc/1/net/ipv6_route", "")
        self.write("/proc/sys/kernel/osrelease", f"{RELEASE}\n")
        self.write("/proc/sys/kernel/hostname", "db-1\n")
        self.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n")
        self.write("/dev/kmsg")
        self.write("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n")
        self.write("/usr/bin/systemctl", mode=0o755)
        self.write("/run/systemd/system/.keep")
        for name in MODULES:
            self.write(f"/sys/module/{name}/refcnt", "1\n")

    def remove(self, path: str) -> None:
        self.path(path).unlink()

    def configure(self, text: str) -> None:
        self.write("/etc/rancher/k3s/config.yaml", text, 0o600)

    def mount(self, line: str) -> None:
        self.write("/proc/1/mountinfo", f"{MOUNTINFO}{line}\n")

    def without_module(self, name: str) -> None:
        self.remove(f"/sys/module/{name}/refcnt")
        self.path(f"/sys/module/{name}").rmdir()

    def modules_directory(self, builtin: Sequence[str] = (), installed: Sequence[str] = ()) -> None:
        """Write modules.builtin and modules.dep of the running kernel."""
        top = f"/lib/modules/{RELEASE}"
        self.write(f"{top}/modules.builtin", "".join(f"kernel/net/{name}.ko\n" for name in ("tun", *builtin)))
        self.write(f"{top}/modules.dep", "".join(f"kernel/net/{name}.ko.xz: a.ko\n" for name in ("dummy", *installed)))

    def kernel_configuration(self, *lines: str) -> None:
        self.write("/proc/config.gz", gzip.compress("\n".join(("# Linux", *lines, "")).encode()))

    def unit(self, before_start: str = "", binary: str = "/usr/local/bin/k3s") -> None:
        name = "k3s-agent" if self.role == "agent" else "k3s"
        self.write(f"/etc/systemd/system/{name}.service", f"[Service]\n{before_start}ExecStart={binary} {self.role}\n")

    def enable(self, unit: str) -> None:
        self.write(f"/etc/systemd/system/multi-user.target.wants/{unit}")

    def findings(self, *, is_live: bool = True) -> tuple[Finding, ...]:
        """Return the findings about the host itself."""
        state = Completed(0, f"ActiveState={self.network_state}\n", "")
        programs = Programs({SHOW: state, VERSION: Completed(126, "", "Exec format error")})
        host = fake_host(self.root, programs=programs, clock=self.clock, is_live=is_live)
        host = replace(host, listeners=lambda: self.listeners)
        situation = observe_situation(host, Request(Overrides(role=self.role, k3s_version=self.k3s_version)))
        return tuple(finding for finding in collect_findings(situation) if finding.id in REASONS)

    def ids(self, *, is_live: bool = True) -> list[str]:
        return [finding.id for finding in self.findings(is_live=is_live)]

    def only(self, *, is_live: bool = True) -> Finding:
        (finding,) = self.findings(is_live=is_live)
        return finding
