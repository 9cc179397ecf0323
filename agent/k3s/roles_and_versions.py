"""K3s' roles, components, versions and default paths, and to which of them a row applies. Pure."""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base import package_data
from agent.base.model import StrEnum
from agent.base.value import Value

DEFAULT_DATA_DIR = PurePosixPath("/var/lib/rancher/k3s")
"""The default of `data-dir`."""

K3S_CONFIG_FILE = PurePosixPath("/etc/rancher/k3s/config.yaml")
"""The default of K3S_CONFIG_FILE and `--config`."""

TOKEN_FILE = PurePosixPath("/etc/rancher/k3s/token")
"""Where this program's commands put the cluster's token. K3s has no default of `token-file`."""

NETWORK_LEASES = PurePosixPath("/var/lib/cni/networks")
"""The data directory of the CNI plugin host-local, with a directory for each network and in it a file for each pod.

K3s' flannel configuration does not set another one (k3s, pkg/agent/flannel/setup_linux.go).
"""

CERTIFICATE_DIRECTORIES = (
    "server/tls",
    "server/tls/etcd",
    "server/tls/kube-controller-manager",
    "server/tls/kube-scheduler",
)
"""Directories of control plane certificates, relative to the data directory.

The last two have the serving certificates of these components. K3s creates and renews them since May 2025 (k3s,
53de96867); before, the component created a missing one when it started.
"""

K3S_BINARY = PurePosixPath("/usr/local/bin/k3s")
"""The program as install.sh installs it."""


class Role(StrEnum):
    """The role of K3s on this host. A K3s agent is a worker node."""

    SERVER = "server"
    AGENT = "agent"


OTHER_ROLES = {"worker": Role.AGENT, "master": Role.SERVER, "control-plane": Role.SERVER}
"""Other programs' words for roles."""


class Component(StrEnum):
    """A part of Kubernetes that K3s runs in its own process."""

    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    KUBELET = "kubelet"
    KUBE_PROXY = "kube-proxy"

    @property
    def config_key(self) -> str:
        """Return the key of K3s' configuration that lists the component's arguments."""
        return f"{self.value}-arg"


class Version(NamedTuple):
    """A K3s version. All releases of K3s have major version 1, so only the minor version decides what applies."""

    major: int
    minor: int
    patch: int
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Parse `v1.24.17+k3s1`, `1.24.17` or `1.24`. Raises ValueError for other text."""
        match = re.fullmatch(r"v?(1)\.(\d{1,3})(?:\.(\d{1,3}))?([-+][\w.+-]+)?", text.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"not a K3s version: {text!r}")
        build = (match[4] or "").replace("-k3s", "+k3s")  # as in the tags of images
        return cls(int(match[1]), int(match[2]), int(match[3] or 0), build)

    @property
    def is_release(self) -> bool:
        """Whether it is one release, such as v1.37.0+k3s1. If not, it is a minor version without its patch, 1.37."""
        return bool(self.patch or self.build)

    @property
    def is_preview(self) -> bool:
        """Whether it is the minor version of which facts are known before its first release. A release can differ."""
        return NEWEST_KNOWN.minor < self.minor <= NEWEST_PREVIEW.minor and not self.is_release

    @property
    def is_plausible(self) -> bool:
        """Whether K3s can have such a release: not one of another distribution, and not minor versions ahead."""
        is_of_k3s = re.fullmatch(r"(-rc\d+)?\+k3s\d+", self.build, re.ASCII) is not None
        return (is_of_k3s or not self.build) and self.minor <= NEWEST_PLAUSIBLE

    def is_before(self, minor: int, patch: int) -> bool:
        """Return whether it is older than this release. A minor version without its patch has all of its fixes."""
        return (self.minor, self.patch) < (minor, patch) and (self.is_release or self.minor < minor)

    @property
    def family(self) -> str:
        """Return major and minor, such as 1.34."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}{self.build}"


NEWEST_KNOWN = Version(1, 37, 0)
"""The newest minor version that the guide's rows were checked against."""

NEWEST_PREVIEW = Version(1, 38, 0)
"""The newest minor version of which facts are known. preflight accepts it before its first release."""

PREVIEWED = "v1.38.0-beta.0"
"""The release of Kubernetes that these facts are from."""

EXAMPLE_MINOR = NEWEST_KNOWN.family
"""The version of K3s in examples."""

NEWEST_PLAUSIBLE = NEWEST_KNOWN.minor + 5
"""The newest minor version that a person can mean."""

OLDEST_COVERED = Version(1, 23, 0)
"""The oldest minor version that the guide covers. An older K3s gets the rows of this one."""


class VersionRange(Value):
    """Minor versions from `first` to `last`, both included; None is unbounded."""

    first: int | None = None
    last: int | None = None

    def includes(self, version: Version) -> bool:
        """Return whether the version's minor is in the range."""
        return (self.first is None or version.minor >= self.first) and (self.last is None or version.minor <= self.last)

    def __str__(self) -> str:
        if self.first is None:
            return "all versions" if self.last is None else f"v1.{self.last} and older"
        if self.last is None:
            return f"v1.{self.first} and newer"
        return f"v1.{self.first}" if self.first == self.last else f"v1.{self.first} to v1.{self.last}"


ALL_VERSIONS = VersionRange()

WITH_POD_SECURITY_POLICY = VersionRange(last=24)
WITHOUT_POD_SECURITY_POLICY = VersionRange(first=25)
"""Kubernetes 1.25 removed PodSecurityPolicy: its API server exits if the plugin is named, and rejects such objects."""

BOTH_ROLES = frozenset(Role)
SERVERS = frozenset({Role.SERVER})


class Applies(Value):
    """The roles and versions that a row of the guide applies to."""

    roles: frozenset[Role] = BOTH_ROLES
    versions: VersionRange = ALL_VERSIONS

    def to(self, role: Role, version: Version) -> bool:
        """Return whether the row applies to this role and K3s version."""
        return role in self.roles and self.versions.includes(version)

    def __str__(self) -> str:
        roles = "servers and agents" if self.roles == BOTH_ROLES else f"{next(iter(self.roles))}s only"
        return f"{roles}, {self.versions}"


EVERYWHERE = Applies()
ON_SERVERS = Applies(SERVERS)


class Removal(NamedTuple):
    """The removal of one API version of some kinds."""

    minor: int
    """The first minor version without it."""
    api_version: str
    kinds: frozenset[str]
    instead: str
    """The API version that replaces it."""


@cache
def _last_days() -> dict[int, str]:
    return {int(minor): day for minor, day in package_data.rows("k3s", "end_of_life.tsv")}


def ended_on(minor: int, today: str) -> str:
    """Return the last day of support with security fixes, if it is before this day (YYYY-MM-DD); otherwise empty."""
    day = _last_days().get(minor, "")
    return day if day < today else ""


@cache
def removals() -> tuple[Removal, ...]:
    """Return the removals by version."""
    return tuple(
        Removal(int(minor), api_version, frozenset(kinds.split()), instead)
        for minor, api_version, kinds, instead in package_data.rows("k3s", "removed_apis.tsv")
    )


def removal_of(api_version: str, kind: str, version: Version) -> Removal | None:
    """Return the removal if this version of Kubernetes does not have the API version of the kind."""
    found = (removal for removal in removals() if removal.api_version == api_version and kind in removal.kinds)
    return next((removal for removal in found if version.minor >= removal.minor), None)
