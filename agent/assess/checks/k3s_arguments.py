"""Values of the arguments that K3s itself passes, with their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.argument_values import Given, GivenBy
from agent.harden.node.datastore import Datastore
from agent.harden.node.passed_arguments import SECRETS_ENCRYPTION, default_value, is_in_force
from agent.k3s import default_arguments
from agent.k3s.default_arguments import Needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.model import Component, Location
    from agent.harden.node.facts import HostFacts
    from agent.k3s.default_arguments import DefaultArgument

ETCD_FILES = {
    "etcd-cafile": "datastore-cafile",
    "etcd-certfile": "datastore-certfile",
    "etcd-keyfile": "datastore-keyfile",
}
"""The API server's arguments for etcd, with the K3s options that set them if K3s does not run etcd itself."""


def default_of(component: Component, name: str, facts: HostFacts) -> Given | None:
    """Return what K3s passes for an argument that the operator does not set; None if it passes nothing."""
    rows = (row for row in default_arguments.defaults_of(component) if row.name == name)
    return next((default(row, facts) for row in rows if is_in_force(row, facts)), None)


def option_behind(component: Component, name: str, facts: HostFacts) -> Given | None:
    """Return the K3s option that makes K3s pass an argument, as it is set; None if no option decides that."""
    if all(
        row.needs is not Needs.SECRETS_ENCRYPTION
        for row in default_arguments.defaults_of(component)
        if row.name == name
    ):
        return None
    return own_option(SECRETS_ENCRYPTION, facts)


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


def default(row: DefaultArgument, facts: HostFacts) -> Given:
    """Return the value of a default on this host."""
    value = default_value(row, facts)
    assumed = "" if facts.version_is_known else ", assumed"
    return Given(value, GivenBy.K3S, source=f"default of K3s {facts.version}{assumed} ({row.source})")


def datastore_address(facts: HostFacts) -> Given | None:
    """Return the address of an external datastore without its secrets: `mysql://(not shown)`; None without one.

    K3s ignores the option if it has an etcd on disk.
    """
    if facts.datastore is Datastore.ETCD:
        return None
    return _datastore_option("datastore-endpoint", facts)


def is_etcd(address: Given) -> bool | None:
    """Return whether a datastore's address is that of an etcd (kine, pkg/endpoint/endpoint.go); None if unclear."""
    scheme, separator, _ = address.value.partition("://")
    return scheme in {"http", "https"} if separator else None


def of_external_etcd(facts: HostFacts) -> Iterator[tuple[str, Given]]:
    """Yield the API server's arguments that K3s derives from its options for an etcd that it does not run itself."""
    address = datastore_address(facts)
    if address is not None and is_etcd(address):
        for name, key in ETCD_FILES.items():
            given = _datastore_option(key, facts)
            if given is not None and given.value:
                yield name, given


def _datastore_option(key: str, facts: HostFacts) -> Given | None:
    given = own_option(key, facts)
    return given if given is not None and given.value else None
