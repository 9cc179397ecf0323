"""What this node and its cluster remember of earlier starts: token, password of the node, certificates."""

from __future__ import annotations

import re
import time
from binascii import a2b_base64
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.sockets import Listener, SocketOwner, socket_owners
from agent.base.host.systemd import Systemd
from agent.base.model import Location
from agent.base.value import Value
from agent.harden.node.datastore import Datastore
from agent.k3s.config import MergedConfig
from agent.k3s.pem import validity
from agent.k3s.ports import Port
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import Role

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


_NODE_PASSWORD = PurePosixPath("/etc/rancher/node/password")
_KUBELET_CERTIFICATE = "agent/client-kubelet.crt"
_CERTIFICATES = {Role.SERVER: "server/tls/server-ca.crt", Role.AGENT: "agent/server-ca.crt"}
TOKEN_OF_CLUSTER = "server/token"  # noqa: S105 - a path
_TOKEN = r"""(?x) (?: ^\s*["']?token["']?\s*:\s* | \bK3S_TOKEN= | --token(?:=|'?\s+'?) ) (["']?)([^\s"'#]+)\1"""  # noqa: S105
"""A token in K3s' configuration, an environment file or a unit."""
_DIRECTORIES = {Role.SERVER: ("agent", "server/tls", "server/tls/etcd"), Role.AGENT: ("agent",)}
_SOON = 30 * 86400.0


class Certificate(Value):
    """A certificate of K3s with the ends of its validity, each YYYY-MM-DD hh:mm:ss UTC; empty if it is not read."""

    path: PurePosixPath
    valid_from: str
    until: str

    @property
    def is_authority(self) -> bool:
        """Whether it signs other certificates, and K3s does not renew it."""
        return "-ca." in self.path.name


class Identity(Value):
    """What a reinstalled or copied node can have lost."""

    name: str
    """The name of the node without the suffix of `with-node-id`; empty if it is not known."""
    name_location: Location | None
    """Where the configuration sets the name; None if it is the host name."""
    other_token: Location | None
    """Where the configured token is, if it is not that of the datastore on this host."""
    lost_password: bool
    """Whether the kubelet has a certificate of this cluster, but the password of the node is missing."""
    future_certificate: Certificate | None
    """The certificate of the cluster's authority, if it is valid in the future only."""
    expiring: tuple[Certificate, ...]
    """Those that have expired, or will within 30 days."""
    now: str
    """The time of this host, YYYY-MM-DD hh:mm:ss UTC."""


def read_identity(
    host: Host, role: Role, config: MergedConfig, data_dir: PurePosixPath, datastore: Datastore
) -> Identity:
    """Return what this node remembers of its cluster. No token leaves this function."""
    given = config.scalar("node-name")
    name = given if given is not None and given.text else None
    has_own_datastore = role is Role.SERVER and datastore in {Datastore.SQLITE, Datastore.ETCD}
    now, authority = _as_date(host.now()), _certificate(host, data_dir / _CERTIFICATES[role])
    rootless, no_agent = config.boolean("rootless"), config.boolean("disable-agent")
    return Identity(
        name=name.text.lower() if name else host.name,
        name_location=name.location if name else None,
        other_token=_other_token(host, config, data_dir / TOKEN_OF_CLUSTER) if has_own_datastore else None,
        lost_password=not rootless
        and not no_agent
        and host.tree.exists(data_dir / _KUBELET_CERTIFICATE)
        and not host.tree.exists(_NODE_PASSWORD),
        future_certificate=authority if host.is_live and now < authority.valid_from else None,
        expiring=tuple(_expiring(host, role, data_dir)) if host.is_live else (),
        now=now,
    )


def _other_token(host: Host, config: MergedConfig, of_cluster: PurePosixPath) -> Location | None:
    """Return the location of the configured token if it differs; None if it is equal or one of both is not known."""
    option, file = config.scalar("token"), config.scalar("token-file")
    with suppress(HostError):
        known = _secret(host.tree.read_text(of_cluster))
        if option is not None and file is None and option.location.line:
            lines = host.tree.read_text(option.location.path).splitlines()
            found = re.search(_TOKEN, lines[option.location.line - 1]) if option.location.line <= len(lines) else None
            if known and found and found[2] not in {HIDDEN, "|", ">"} and _secret(found[2]) != known:
                return option.location
        if file is not None and option is None and file.text.startswith("/"):
            configured = _secret(host.tree.read_text(PurePosixPath(file.text)))
            if known and configured and configured != known:
                return file.location
    return None


def _secret(token: str) -> str:
    """Return the part of a token with which K3s encrypts the data of the bootstrap (k3s, pkg/clientaccess/token.go)."""
    text = token.strip()
    if not text.startswith("K10"):
        return text
    return text.partition("::")[2].partition(":")[2]


def _expiring(host: Host, role: Role, data_dir: PurePosixPath) -> Iterator[Certificate]:
    limit = _as_date(host.now() + _SOON)
    for directory in _DIRECTORIES[role]:
        with suppress(HostError):
            for name in host.tree.names(data_dir / directory):
                if name.endswith(".crt"):
                    found = _certificate(host, data_dir / directory / name)
                    if found.until and found.until < limit:
                        yield found


def _as_date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _certificate(host: Host, path: PurePosixPath) -> Certificate:
    """Return the first certificate of a file."""
    text = host.tree.text_if_readable(path)
    lines = text.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    with suppress(ValueError):
        return Certificate(path, *validity(a2b_base64(lines)))
    return Certificate(path, "", "")
