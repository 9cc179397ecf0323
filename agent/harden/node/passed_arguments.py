"""Arguments that K3s itself passes to components in this version and configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Component
from agent.harden.node.datastore import Datastore
from agent.k3s import default_arguments
from agent.k3s.config import component_argument
from agent.k3s.default_arguments import Channel, Needs

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from agent.base.model import Location
    from agent.harden.node.facts import HostFacts
    from agent.k3s.config import ConfigValue
    from agent.k3s.default_arguments import DefaultArgument

PROTECT_KERNEL_DEFAULTS = "protect-kernel-defaults"
SECRETS_ENCRYPTION = "secrets-encryption"
DATA_DIR = "{data_dir}"
_CLUSTER_RANGE = "10.42.0.0/16"


def passed_arguments(component: Component, facts: HostFacts) -> dict[str, str]:
    """Return what K3s passes to a component on this host, as far as predictions depend on it, by name.

    It includes what K3s passes only if its datastore has it, unless this host is known not to have that.
    """
    rows = in_force(component, facts)
    found = {row.name: default_value(row, facts) for row in rows if row.channel is Channel.ARGUMENT}
    if elects_leaders(facts):
        found["leader-elect"] = "true"
    if not facts.merged_config.items("cluster-cidr"):
        found["cluster-cidr"] = _CLUSTER_RANGE
    if facts.datastore is not Datastore.SQLITE:
        found.update({"etcd-certfile": "client.crt", "etcd-keyfile": "client.key", **found})
    return found


def values_in_order(
    component: Component, facts: HostFacts, passed: Container[str]
) -> dict[str, tuple[ConfigValue | None, ...]]:
    """Return the operator's values of each argument in the order in which K3s passes them; None is K3s' own value.

    `passed` are the arguments that K3s passes itself. It keeps its own value before `+=` and after `-=`.
    """
    key = component.config_key
    found: dict[str, tuple[ConfigValue | None, ...]] = {}
    for name, values in facts.merged_config.component_arguments(key).items():
        found[name] = tuple(values)
        if name in passed and facts.merged_config.keeps_default(key, name):
            written = (component_argument(value.text) for value in facts.merged_config.items(key))
            first = sum(argument.spelling == name and argument.form == "-" for argument in written)
            found[name] = (*values[:first], None, *values[first:])
    return found


def elects_leaders(facts: HostFacts) -> bool:
    """Return whether components elect a leader. With SQLite, K3s passes leader-elect=false."""
    starts_etcd = facts.datastore is Datastore.NONE and facts.merged_config.boolean("cluster-init") is True
    return starts_etcd or facts.datastore in (Datastore.ETCD, Datastore.EXTERNAL)


def in_force(component: Component, facts: HostFacts) -> Iterator[DefaultArgument]:
    """Yield the defaults that K3s passes to a component on this host."""
    return (row for row in default_arguments.defaults_of(component) if is_in_force(row, facts))


def is_in_force(row: DefaultArgument, facts: HostFacts) -> bool:
    """Return whether K3s sets a default on this host."""
    return row.in_version(facts.version) and is_met(row.needs, facts)


def is_met(need: Needs | None, facts: HostFacts) -> bool:
    """Return whether this host's configuration makes K3s pass a default that needs this."""
    if need is Needs.ETCD:
        return _runs_etcd(facts)
    if need is Needs.SECRETS_ENCRYPTION:
        return facts.merged_config.boolean(SECRETS_ENCRYPTION) is True
    if need is Needs.PROTECT_KERNEL_DEFAULTS:
        return facts.merged_config.boolean(PROTECT_KERNEL_DEFAULTS) is True
    return need is None or replacing_file(need, facts) is None


def replacing_file(need: Needs, facts: HostFacts) -> tuple[str, str, Location] | None:
    """Return the operator's argument whose file replaces an argument of K3s, its value and location; None if unset."""
    name = "authentication-config" if need is Needs.NO_AUTHENTICATION_CONFIG else "authorization-config"
    values = facts.merged_config.component_arguments(Component.API_SERVER.config_key).get(name, ())
    return next(((name, value, location) for value, location, _ in values if value), None)


def default_value(row: DefaultArgument, facts: HostFacts) -> str:
    """Return the value of a default on this host."""
    value = row.value.replace(DATA_DIR, str(facts.data_dir))
    return value.replace("{loopback}", _loopback(facts)).replace("{apiserver_port}", _api_server_port(facts))


def _runs_etcd(facts: HostFacts) -> bool:
    """Return whether K3s' datastore is its own etcd, or will be after it starts."""
    if facts.datastore in (Datastore.ETCD, Datastore.EXTERNAL):
        return facts.datastore is Datastore.ETCD
    address = facts.merged_config.scalar("datastore-endpoint")
    if address is not None and address.text:
        return False  # of SQLite
    if facts.datastore is Datastore.NONE and facts.joins_a_cluster:
        return True
    # K3s migrates the data of SQLite to etcd.
    return facts.merged_config.boolean("cluster-init") is True


def _loopback(facts: HostFacts) -> str:
    """Return K3s' Loopback(): the IPv6 address if services have no other (k3s, pkg/daemons/config/types.go)."""
    services = facts.merged_config.scalar("service-cidr") or facts.merged_config.scalar("node-ip")
    return "::1" if services and all(":" in network for network in services[0].split(",")) else "127.0.0.1"


def _api_server_port(facts: HostFacts) -> str:
    """Return the port after the supervisor's, which forwards connections to it (k3s, pkg/daemons/control/server.go)."""
    own = facts.merged_config.scalar("apiserver-port")
    if own and own[0].isdecimal() and own[0] != "0":
        return own[0]
    supervisor = facts.merged_config.scalar("https-listen-port")
    is_number = supervisor is not None and supervisor[0].isdecimal() and len(supervisor[0]) <= len("65535")
    return str(int(supervisor[0]) + 1) if supervisor and is_number else "6444"
