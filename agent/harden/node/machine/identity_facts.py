"""What this node and its cluster remember of earlier starts: token, password of the node, certificates."""

from __future__ import annotations

import re
import time
from binascii import a2b_base64
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.value import Value
from agent.harden.node.datastore import Datastore
from agent.k3s.pem import validity
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.host import Host
    from agent.base.model import Location
    from agent.k3s.config import MergedConfig

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
