"""What K3s needs of the network: a route, free ports, and no service that blocks it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.sockets import socket_owners
from agent.base.host.systemd import Systemd
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agent.base.host import Host
    from agent.base.host.sockets import Listener, SocketOwner
    from agent.k3s.ports import Port

_PROC_NET = PurePosixPath("/proc/1/net")
"""The network of the first process, which starts K3s: a sandbox can have another one."""
_ZONES = PurePosixPath("/etc/firewalld/zones")
_UFW = PurePosixPath("/etc/ufw/ufw.conf")
_UFW_RULES = PurePosixPath("/etc/ufw/user.rules")
_NOWHERE = b"0" * 32
"""An address of IPv6 in /proc/net/ipv6_route; one of IPv4 in /proc/net/route has 8 digits (proc(5))."""
ONLINE = "network-online.target"


class RunningK3s(Value):
    """The processes that belong to K3s."""

    processes: Collection[int]
    services: frozenset[str]
    """Names of its units, which are those of its control groups."""


class PortConflict(Value):
    """A port that K3s needs and another process has."""

    port: Port
    owner: SocketOwner


class Firewall(Value):
    """A firewall that is enabled, and which networks of pods and services it does not trust."""

    name: str
    untrusted: tuple[str, ...]


class Network(Value):
    """What K3s finds of the network of this host."""

    has_default_route: bool | None
    """None on a host tree, and if it could not be read."""
    is_up: bool
    """Whether the network is complete: False if systemd answers that it is not."""
    conflicts: tuple[PortConflict, ...]
    firewall: Firewall | None


def read_network(
    host: Host, ports: Sequence[Port], networks: Sequence[str], k3s: RunningK3s, enabled: frozenset[str]
) -> Network:
    """Return the state of this host's network; `enabled` are the enabled units."""
    has_route = _has_default_route(host) if host.is_live else None
    return Network(
        has_default_route=has_route,
        is_up=has_route is not False or _is_up(host),
        conflicts=tuple(_conflicts(host, ports, k3s)) if host.is_live else (),
        firewall=_firewall(host, networks, enabled),
    )


def _has_default_route(host: Host) -> bool | None:
    try:
        ipv4 = host.tree.read(_PROC_NET / "route")
        ipv6 = host.tree.read(_PROC_NET / "ipv6_route") or b""
    except HostError:
        return None
    if ipv4 is None:
        return None
    # As Kubernetes requires it (apimachinery, pkg/util/net/interface.go): for IPv6, with a gateway.
    rows = (line.split()[:5] for line in ipv6.splitlines())
    has_ipv6 = any(fields[:1] == [_NOWHERE] and fields[-1] != _NOWHERE for fields in rows)
    return has_ipv6 or any(line.split()[1:2] == [_NOWHERE[:8]] for line in ipv4.splitlines())


def _is_up(host: Host) -> bool:
    systemd = Systemd(host)
    if systemd.is_running:
        with suppress(HostError):
            return systemd.show([ONLINE], "ActiveState")[0].get("ActiveState") == "active"
    return True


def _conflicts(host: Host, ports: Sequence[Port], k3s: RunningK3s) -> Iterator[PortConflict]:
    numbers = {port.number: port for port in ports}
    found = ((numbers.get(listener.port), listener) for listener in host.listeners())
    listening = {listener.inode: port for port, listener in found if port is not None and _excludes(listener, port)}
    if listening:
        for inode, owner in socket_owners(host.root, listening, first=k3s.processes).items():
            if owner.pid not in k3s.processes and owner.control_groups.isdisjoint(k3s.services):
                yield PortConflict(listening[inode], owner)


def _excludes(listener: Listener, port: Port) -> bool:
    """Return whether K3s cannot listen on a port beside this listener."""
    if listener.on_all_addresses:
        return True
    return not listener.is_ipv6 and (listener.on_ipv4_loopback or not port.on_loopback)


def _firewall(host: Host, networks: Sequence[str], enabled: frozenset[str]) -> Firewall | None:
    with suppress(HostError):
        if "firewalld.service" in enabled:
            zones = [host.tree.read_text(_ZONES / name) for name in host.tree.names(_ZONES) if name.endswith(".xml")]
            return _untrusted("firewalld", networks, "\n".join(zones))
        if "ENABLED=yes" in host.tree.read_text(_UFW).replace('"', ""):
            return _untrusted("ufw", networks, host.tree.read_text(_UFW_RULES))
    return None


def _untrusted(name: str, networks: Sequence[str], rules: str) -> Firewall | None:
    untrusted = tuple(network for network in networks if network not in rules)
    return Firewall(name, untrusted) if untrusted else None
