"""What K3s finds on this host when it starts, besides its own configuration: the reasons on the host."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.value import Value
from agent.harden.node.facts import HostFacts, will_run_etcd
from agent.harden.node.machine.identity_and_network_facts import (
    Identity,
    Network,
    RunningK3s,
    read_identity,
    read_network,
)
from agent.harden.node.machine.kernel_facts import Kernel, read_kernel
from agent.harden.node.machine.program_and_storage_facts import Program, Storage, read_program, read_storage
from agent.harden.node.platform import os_releases
from agent.k3s.ports import required_ports
from agent.k3s.roles_and_versions import Role

_UNITS = PurePosixPath("/etc/systemd/system")
_FIRST, _OWN = PurePosixPath("/proc/1"), PurePosixPath("/proc/self")
_DEFAULT_NETWORKS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}


class Machine(Value):
    """The machine below K3s, as it is now or, for a host tree, after its boot."""

    storage: Storage
    kernel: Kernel
    network: Network
    program: Program
    identity: Identity
    is_live: bool
    package_manager: str
    """The command that installs a package on this system, such as `apt-get install`; empty if it is not known."""


def read_machine(host: Host, facts: HostFacts) -> Machine:
    """Return the state of the machine. Nothing is changed, loaded or opened for writing."""
    config = facts.merged_config
    sees_all = not host.is_live or _has_namespaces_of_systemd(host)
    enabled = _enabled_units(host)
    services = frozenset({facts.service, *(unit.path.name for unit in facts.units)})
    ports = tuple(required_ports(facts.role, config, has_etcd=facts.role is Role.SERVER and will_run_etcd(facts)))
    given = {key: config.scalar(key) for key in _DEFAULT_NETWORKS}
    networks = ",".join((found and found.text) or _DEFAULT_NETWORKS[key] for key, found in given.items())
    return Machine(
        storage=read_storage(host, facts.data_dir, enabled),
        kernel=read_kernel(host, facts.role, config, in_container=bool(facts.platform.container), sees_all=sees_all),
        network=read_network(host, ports, networks.split(","), RunningK3s(facts.processes, services), enabled),
        program=read_program(host, facts.unit, facts.data_dir, enabled),
        identity=read_identity(host, facts.role, config, facts.data_dir, facts.datastore),
        is_live=host.is_live,
        package_manager=_package_manager(host),
    )


def _has_namespaces_of_systemd(host: Host) -> bool:
    """Return whether this process has the mounts of the first process, which starts K3s.

    The sandbox of a unit hides devices and modules, and makes file systems read-only. The answer is also no if this
    user may not see the namespaces of the first process.
    """
    return host.tree.link_target(_FIRST / "ns/mnt") == host.tree.link_target(_OWN / "ns/mnt")


def _enabled_units(host: Host) -> frozenset[str]:
    """Return the units that /etc/systemd/system starts at boot."""
    found: set[str] = set()
    with suppress(HostError):
        for name in host.tree.names(_UNITS):
            if name.endswith((".wants", ".requires")):
                found.update(host.tree.names(_UNITS / name))
    return frozenset(found)


_PACKAGE_MANAGERS = {
    "alpine": "apk add",
    "debian": "apt-get install",
    "fedora": "dnf install",
    "rhel": "dnf install",
    "suse": "zypper install",
}
"""By ID or ID_LIKE of os-release(5)."""


def _package_manager(host: Host) -> str:
    names = (
        name for _, values in os_releases(host) for key in ("ID", "ID_LIKE") for name in values.get(key, "").split()
    )
    return next((_PACKAGE_MANAGERS[name] for name in names if name in _PACKAGE_MANAGERS), "")
