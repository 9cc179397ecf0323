"""Arguments that K3s itself passes to the components of Kubernetes, from default_arguments.tsv.

The rows follow K3s' source. Tests compare them with the lines that K3s logs at the start of a component, as shown in
the self-assessments of its documentation (k3s-io/docs, docs/security/self-assessment-*.md).
"""

from __future__ import annotations

from enum import Enum
from functools import cache

from agent.base import package_data
from agent.base.value import Value
from agent.k3s.roles_and_versions import Component, Version, VersionRange


class Needs(Enum):
    """A condition, besides the version, for K3s to pass an argument."""

    ETCD = "K3s runs etcd itself"
    SECRETS_ENCRYPTION = "K3s encrypts secrets"
    PROTECT_KERNEL_DEFAULTS = "K3s' own option protect-kernel-defaults is on"
    SQLITE = "K3s' datastore is SQLite, so no other server can run"
    NO_CLUSTER_CIDR = "the operator sets no cluster-cidr"
    NO_AUTHENTICATION_CONFIG = "the operator sets no authentication-config"
    NO_AUTHORIZATION_CONFIG = "the operator sets no authorization-config"


class Channel(Enum):
    """How a component gets a default."""

    ARGUMENT = "K3s passes an argument"
    KUBELET_FILE = "K3s writes a field of 00-k3s-defaults.conf; later files and all arguments override it"
    BUILT_IN = "the kubelet's default without a --config file; any file and any argument override it"


class DefaultArgument(Value):
    """An argument that K3s sets."""

    component: Component
    name: str
    """Without dashes."""
    value: str
    """Can contain the fields {data_dir}, {loopback} and {apiserver_port}."""
    source: str
    """The upstream file, or issue, that shows it."""
    versions: VersionRange
    since: tuple[tuple[int, int], ...]
    """(minor, patch) of the first release with the argument, for minors that do not have it from their start."""
    before: tuple[tuple[int, int], ...]
    """(minor, patch) of the first release without the argument."""
    needs: Needs | None
    channel: Channel

    @property
    def example(self) -> str:
        """The value with K3s' usual addresses and ports filled in."""
        return self.value.replace("{loopback}", "127.0.0.1").replace("{apiserver_port}", "6444")

    def in_version(self, version: Version) -> bool:
        """Return whether K3s of this version sets the argument if its condition is met."""
        return (
            self.versions.includes(version)
            and version.patch >= dict(self.since).get(version.minor, 0)
            and version.patch < dict(self.before).get(version.minor, version.patch + 1)
        )


FIRST_WITH_KUBELET_FILES = 32
"""The first minor that writes the kubelet's configuration to files instead of passing arguments."""

KUBELET_DIRECTORY = "agent/etc/kubelet.conf.d"
"""Path of the directory of these files, relative to the data directory. The kubelet reads all *.conf in it."""

KUBELET_DEFAULTS_FILE = f"{KUBELET_DIRECTORY}/00-k3s-defaults.conf"
"""The file that K3s rewrites at each start."""

_TABLE = ("k3s", "default_arguments.tsv")


@cache
def defaults_of(component: Component) -> tuple[DefaultArgument, ...]:
    """Return the rows of a component, for all versions: at most one per argument, version and channel."""
    return tuple(
        DefaultArgument(
            component,
            name,
            value,
            source,
            _range(minors),
            _releases(since),
            _releases(before),
            Needs[needs] if needs else None,
            Channel[channel] if channel else Channel.ARGUMENT,
        )
        for owner, name, value, needs, channel, minors, since, before, source in package_data.rows(*_TABLE)
        if owner == component.value
    )


def _range(cell: str) -> VersionRange:
    first, _, last = cell.partition("-")
    return VersionRange(int(first) if first else None, int(last) if last else None)


def _releases(cell: str) -> tuple[tuple[int, int], ...]:
    pairs = (release.split(".") for release in cell.split())
    return tuple((int(minor), int(patch)) for minor, patch in pairs)
