"""Values of the arguments that K3s itself sets for components in this version and configuration, with their sources."""

from __future__ import annotations

from collections.abc import Iterator

from agent.base.model import Location
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import HostFacts, will_run_etcd
from agent.k3s import default_arguments
from agent.k3s.components.effective_arguments import Given, GivenBy
from agent.k3s.default_arguments import DefaultArgument, Needs
from agent.k3s.roles_and_versions import Component

PROTECT_KERNEL_DEFAULTS = "protect-kernel-defaults"
SECRETS_ENCRYPTION = "secrets-encryption"
DATA_DIR = "{data_dir}"


ETCD_FILES = {
    "etcd-cafile": "datastore-cafile",
    "etcd-certfile": "datastore-certfile",
    "etcd-keyfile": "datastore-keyfile",
}
"""The API server's arguments for etcd, with the K3s options that set them if K3s does not run etcd itself."""


def default_of(component: Component, name: str, facts: HostFacts) -> Given | None:
    """Return what K3s sets for an argument that the operator does not set; None if it sets nothing."""
    return next((default(row, facts) for row in in_force(component, facts) if row.name == name), None)


def default(row: DefaultArgument, facts: HostFacts) -> Given:
    """Return the value of a default on this host."""
    value = row.value.replace(DATA_DIR, str(facts.data_dir)).replace("{loopback}", _loopback(facts))
    assumed = "" if facts.version_is_known else ", assumed"
    source = f"default of K3s {facts.version}{assumed} ({row.source})"
    return Given(value.replace("{apiserver_port}", _api_server_port(facts)), GivenBy.K3S, source=source)


def option_behind(component: Component, name: str, facts: HostFacts) -> Given | None:
    """Return the K3s option that makes K3s pass an argument, as it is set; None if no option decides that."""
    needs = {row.needs for row in default_arguments.defaults_of(component) if row.name == name}
    return own_option(SECRETS_ENCRYPTION, facts) if Needs.SECRETS_ENCRYPTION in needs else None


def own_option(key: str, facts: HostFacts) -> Given | None:
    """Return the value of a K3s option; None if it is not set."""
    found = facts.merged_config.scalar(key)
    if found is None:
        return None
    return by_operator(found.text, found.location, facts)._replace(written=f"{key}: {found.text}", field=key)


def by_operator(value: str, location: Location, facts: HostFacts) -> Given:
    """Return a value of K3s' configuration."""
    is_ours = location.path == facts.dropin_path
    return Given(value, GivenBy.DROPIN if is_ours else GivenBy.OPERATOR, location)


def datastore_address(facts: HostFacts) -> Given | None:
    """Return the address of an external datastore without its secrets: `mysql://(not shown)`; None without one.

    K3s ignores the option if it has an etcd on disk.
    """
    return None if facts.datastore is Datastore.ETCD else _datastore_option("datastore-endpoint", facts)


def is_etcd(address: Given) -> bool | None:
    """Return whether a datastore's address is that of an etcd (kine, pkg/endpoint/endpoint.go); None if unclear."""
    scheme, separator, _ = address.value.partition("://")
    return scheme in {"http", "https"} if separator else None


def of_external_etcd(facts: HostFacts) -> Iterator[tuple[str, Given]]:
    """Yield the API server's arguments that K3s derives from its options for an etcd that it does not run itself."""
    address = datastore_address(facts)
    for name, key in ETCD_FILES.items() if address is not None and is_etcd(address) else ():
        given = _datastore_option(key, facts)
        if given is not None:
            yield name, given


def _datastore_option(key: str, facts: HostFacts) -> Given | None:
    given = own_option(key, facts)
    return given if given is not None and given.value else None


def in_force(component: Component, facts: HostFacts) -> Iterator[DefaultArgument]:
    """Return the defaults that K3s sets for a component on this host."""
    rows = default_arguments.defaults_of(component)
    return (row for row in rows if row.in_version(facts.version) and is_met(row.needs, facts))


def is_met(need: Needs | None, facts: HostFacts) -> bool:
    """Return whether this host's configuration makes K3s pass a default that needs this."""
    if need is Needs.ETCD:
        return will_run_etcd(facts)
    if need is Needs.SECRETS_ENCRYPTION:
        return facts.merged_config.boolean(SECRETS_ENCRYPTION) is True
    if need is Needs.PROTECT_KERNEL_DEFAULTS:
        return facts.merged_config.boolean(PROTECT_KERNEL_DEFAULTS) is True
    if need is Needs.SQLITE:
        starts_etcd = facts.datastore is Datastore.NONE and facts.merged_config.boolean("cluster-init") is True
        return not starts_etcd and facts.datastore not in (Datastore.ETCD, Datastore.EXTERNAL)
    if need is Needs.NO_CLUSTER_CIDR:
        return not facts.merged_config.items("cluster-cidr")
    return need is None or replacing_file(need, facts) is None


def replacing_file(need: Needs, facts: HostFacts) -> tuple[str, str, Location] | None:
    """Return the operator's argument whose file replaces an argument of K3s, its value and location; None if unset."""
    name = "authentication-config" if need is Needs.NO_AUTHENTICATION_CONFIG else "authorization-config"
    values = facts.merged_config.argument(Component.API_SERVER, name)
    # K3s does not recognize a name with underscores.
    return next(((name, value, at) for value, at, spelling in values if value and not spelling), None)


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
