"""The TCP ports on which K3s listens, and without which it exits."""

from __future__ import annotations

from collections.abc import Iterator

from agent.base.value import Value
from agent.k3s.config import MergedConfig
from agent.k3s.roles_and_versions import BOTH_ROLES, SERVERS, Component, Role

_HTTPS = "https-listen-port"
_SECURE = "secure-port"
"""An argument whose port K3s opens on 127.0.0.1 only."""
_LONGEST = 5
"""Digits of a port number."""


class Port(Value):
    """A port that K3s needs."""

    number: int
    user: str
    """The part of K3s that listens on it."""
    change: str
    """How the configuration selects another port; empty if it cannot."""
    on_loopback: bool = False
    """Whether K3s listens on 127.0.0.1 only."""


class _PortRow(Value):
    default: int
    user: str
    roles: frozenset[Role]
    option: str
    component: Component | None = None
    """The component whose argument `option` is; None for an option of K3s."""
    unless: str = "disable-agent"
    """The boolean option of K3s without which the port is used."""


_ROWS = (
    _PortRow(6443, "K3s' server", SERVERS, _HTTPS, unless=""),
    _PortRow(10250, "the kubelet", BOTH_ROLES, "port", Component.KUBELET),
    *(
        _PortRow(number, f"the {name.replace('-', ' ')}", SERVERS, _SECURE, component, f"disable-{name}")
        for number, component in ((10257, Component.CONTROLLER_MANAGER), (10259, Component.SCHEDULER))
        for name in (component.value.removeprefix("kube-"),)
    ),
)
"""K3s, docs/installation/requirements; pkg/daemons/control/server.go."""

_ETCD = (Port(2379, "the embedded etcd, for clients", ""), Port(2380, "the embedded etcd, for other servers", ""))


def required_ports(role: Role, config: MergedConfig, *, has_etcd: bool) -> Iterator[Port]:
    """Yield the ports that K3s needs in this role; `has_etcd` tells whether it runs the embedded etcd."""
    for row in _ROWS:
        number = _configured(config, row)
        if role in row.roles and number and not (row.unless and config.boolean(row.unless)):
            key = row.component.config_key if row.component else ""
            change = f"`{key}: [{row.option}=PORT]`" if key else f"`{row.option}: PORT`"
            yield Port(number, row.user, change, on_loopback=row.option == _SECURE)
            if row.option == _HTTPS and not config.boolean("disable-apiserver"):
                # The API server listens behind K3s' own server (k3s, pkg/cli/server/server.go).
                yield Port(number + 1, "the API server", change, on_loopback=True)
    if has_etcd and not config.boolean("disable-etcd"):
        yield from _ETCD


def _configured(config: MergedConfig, row: _PortRow) -> int:
    """Return the port number; 0 for a value that is none, which another finding reports."""
    if row.component is None:
        found = config.scalar(row.option)
    else:
        values = config.argument(row.component, row.option)
        found = values[-1] if values else None
    if found is None or not found.text:
        return row.default
    return int(found.text) if found.text.isdecimal() and len(found.text) <= _LONGEST else 0
