"""A machine as a K3s node: the program of the working tree, the stand-in for k3s, and their observed state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.launcher import launcher
from tests.vm.container import Container
from tests.vm.guest import Guest
from tests.vm.instance import Done, Instance
from tests.vm.suite import machine

STAND_IN = Path(__file__).parent / "stand_in"
STAND_IN_HOME = "/usr/local/lib/k3s-stand-in"

SERVER = "k3s.service"
AGENT = "k3s-agent.service"
GATE = "k3s-harden@k3s.service"
"""The gate of SERVER."""

KUBELET_CONF = "/etc/sysctl.d/90-kubelet.conf"
DATA_DIR = "/var/lib/rancher/k3s"
HARDENED_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
HARDENED_MODES = {
    KUBELET_CONF: "0644",
    f"{DATA_DIR}/server": "0700",
    f"{DATA_DIR}/server/manifests": "0700",
    f"{DATA_DIR}/server/logs": "0700",
    f"{DATA_DIR}/server/audit.yaml": "0600",
    f"{DATA_DIR}/server/psa.yaml": "0600",
    f"{DATA_DIR}/server/manifests/policy.yaml": "0600",
}
"""The modes on a server with a K3s of 1.25 or newer."""

JOIN = {"K3S_URL": "https://server.example:6443", "K3S_TOKEN": "secret-of-the-cluster"}
"""The environment variables that an agent needs."""


def gate_of(service: str) -> str:
    return f"k3s-harden@{service}"


class Start(NamedTuple):
    """The state of the host that the stand-in recorded at a start that it did not reject."""

    boot: str
    version: str
    command: str
    uptime: float
    flags: list[str]
    kernel: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]

    @property
    def modes(self) -> dict[str, str]:
        return {path: str(found["mode"]) for path, found in self.files.items()}

    @property
    def kinds(self) -> set[str]:
        """The kinds of all objects that K3s would apply."""
        return {kind for found in self.files.values() for kind in found.get("kinds", ())}


class Node(Instance):
    """A machine with the queries and actions of node tests."""

    def harden(self, *words: str, check: bool = True) -> Done:
        return self.run(("/usr/bin/env", "k3s-harden", *words), check=check)

    def systemctl(self, *words: str, check: bool = True) -> Done:
        return self.run(("/usr/bin/systemctl", *words), check=check)

    def unit(self, name: str) -> dict[str, str]:
        lines = self.systemctl("show", "--all", name).out.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def is_up(self, service: str = SERVER) -> bool:
        """Whether a service is active."""
        return self.unit(service)["ActiveState"] == "active"

    def wait_until_up(self, service: str = SERVER) -> None:
        # The pause between two attempts is about a minute, and longer on a busy emulated processor.
        self.wait_until(f"systemctl is-active --quiet {service}", timeout=400)

    def starts(self) -> list[Start]:
        """Each start on this disk that the stand-in did not reject."""
        lines = self.run("cat /var/lib/k3s-stand-in/starts 2>/dev/null || true").out.splitlines()
        return [Start(*(found[name] for name in Start._fields)) for found in map(json.loads, lines)]

    def gate_runs(self, service: str = SERVER) -> int:
        return sum(line.startswith("Starting ") for line in self.journal(gate_of(service)).splitlines())

    def gate_succeeded_at(self, service: str = SERVER) -> float:
        """Return when the gate of a service last succeeded in this boot, in seconds since the boot."""
        gate = self.unit(gate_of(service))
        assert (gate["Result"], gate["ConditionResult"]) == ("success", "yes")
        return int(gate["ExecMainExitTimestampMonotonic"]) / 1e6

    def assert_started_after_the_gate(self, service: str = SERVER) -> None:
        """Check that the last start of a service began after its gate succeeded, and was not repeated."""
        k3s = self.unit(service)
        assert (k3s["ActiveState"], k3s["NRestarts"]) == ("active", "0")
        assert self.gate_succeeded_at(service) <= int(k3s["ExecMainStartTimestampMonotonic"]) / 1e6

    def journal(self, unit: str) -> str:
        return self.run(f"journalctl --sync; journalctl -b -o cat -u {unit}").out

    def status(self, unit: str) -> str:
        """Return what `systemctl status` prints, with the lines that the unit has logged until now."""
        return self.run(f"journalctl --sync; systemctl status --no-pager {unit}", check=False).out

    def boot_id(self) -> str:
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    BAD_DROPIN = "/etc/rancher/k3s/config.yaml.d/99-site.yaml"

    def break_host(self) -> None:
        """Make the gate fail with an operator's file that undoes the hardening, which apply does not repair."""
        self.put(self.BAD_DROPIN, "protect-kernel-defaults: false\n")

    def repair_host(self) -> None:
        self.run(("/bin/rm", "-f", self.BAD_DROPIN))

    def install_k3s(self, role: str = "server", **variables: str) -> None:
        """Run the stand-in for K3s' install.sh; by default nothing is started."""
        settings = {"INSTALL_K3S_SKIP_START": "true"} | variables
        words = [f"{name}={value}" for name, value in settings.items()]
        self.run(("/usr/bin/env", *words, f"{STAND_IN_HOME}/install.sh", role))

    def play_version(self, version: str) -> None:
        """Change the version of the stand-in at its next start, as an upgrade or a downgrade does."""
        self.put(f"{STAND_IN_HOME}/version", f"{version}\n")

    def remove_k3s(self, service: str = SERVER) -> None:
        self.run(f"systemctl disable --now -q {service}; rm -f /etc/systemd/system/{service}*; systemctl daemon-reload")

    def kill_k3s(self, service: str = SERVER) -> None:
        self.run(f"kill -9 $(systemctl show --property=MainPID --value {service})")


class GuestNode(Node, Guest):
    """A virtual machine as a node."""


class ContainerNode(Node, Container):
    """A container as a node."""


def stand_in_files() -> dict[str, bytes]:
    files = {file.name: file.read_bytes() for file in STAND_IN.iterdir() if file.is_file()}
    return {**files, "k3s": launcher("/usr/local/bin/stand-in-for-k3s", machine())}


def put_stand_in(node: Node) -> None:
    for name, content in stand_in_files().items():
        node.put(f"{STAND_IN_HOME}/{name}", content, "0644" if name.endswith(".py") else "0755")


def put_package(node: Node, package: Path) -> None:
    node.put(f"/root/{package.name}", package.read_bytes())
    node.run(("/usr/bin/dpkg", "--install", f"/root/{package.name}"))
