"""Pod Security standards: the one that is enforced in each namespace, and what is exempt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import StrEnum

if TYPE_CHECKING:
    from agent.cluster.kubernetes.objects import Namespace
    from agent.k3s.admission_configuration import PodSecurity

ENFORCE = "pod-security.kubernetes.io/enforce"
_VERSION = "pod-security.kubernetes.io/enforce-version"
FIRST_COMPLETE = 22
"""The minor version from which the standard `restricted` requires that a container drops all capabilities."""


class PodSecurityLevel(StrEnum):
    """A Pod Security standard, or EXEMPT for a namespace that the API server does not check."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"
    EXEMPT = "exempt"

    def includes(self, other: PodSecurityLevel) -> bool:
        """Return whether this level forbids everything that the other one forbids."""
        return self in _ORDER and _ORDER.index(self) >= _ORDER.index(other)


_ORDER = (PodSecurityLevel.PRIVILEGED, PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED)


class Standard(NamedTuple):
    """A level and its version."""

    level: PodSecurityLevel
    minor: int | None = None
    """The minor version of Kubernetes that it is pinned to; None for the latest."""


class PodSecurityDefaults(NamedTuple):
    """The Pod Security configuration of the API server."""

    level: PodSecurityLevel | None
    """The level of namespaces without a label; None if it could not be determined."""
    exempt: frozenset[str] = frozenset()
    """The namespaces that are not checked."""
    users: tuple[str, ...] = ()
    """The users whose pods are not checked."""
    runtime_classes: tuple[str, ...] = ()
    """The runtime classes whose pods are not checked."""
    is_disabled: bool = False
    """Whether the API server does not run the plugin, so that labels have no effect, too."""
    minor: int | None = None
    """The version of `level`, as in a Standard."""
    has_gate: bool = False
    """Whether the feature gate UserNamespacesPodSecurityStandards is on."""

    @classmethod
    def of(cls, configuration: PodSecurity) -> PodSecurityDefaults:
        """Return the defaults of an admission configuration; the API server exits at an unknown level."""
        level = next((level for level in _ORDER if level.value == configuration.level), PodSecurityLevel.PRIVILEGED)
        return cls(
            level,
            frozenset(configuration.exempt_namespaces),
            configuration.exempt_users,
            configuration.exempt_runtime_classes,
            minor=_minor(configuration.version),
        )


def standard_of(namespace: Namespace, defaults: PodSecurityDefaults) -> Standard | None:
    """Return the standard that is enforced in a namespace; None if it could not be determined."""
    if defaults.is_disabled:
        return Standard(PodSecurityLevel.PRIVILEGED)
    if namespace.name in defaults.exempt:
        return Standard(PodSecurityLevel.EXEMPT)
    label, version = namespace.labels.get(ENFORCE), namespace.labels.get(_VERSION)
    # The API server enforces `restricted` for an unknown value, and the latest version for an invalid one.
    level = (
        defaults.level
        if label is None
        else next((level for level in _ORDER if level.value == label), PodSecurityLevel.RESTRICTED)
    )
    return None if level is None else Standard(level, defaults.minor if version is None else _minor(version))


def level_of(namespace: Namespace, defaults: PodSecurityDefaults) -> PodSecurityLevel | None:
    """Return the level of a namespace; an old version of `restricted` counts as `baseline`."""
    standard = standard_of(namespace, defaults)
    if standard is None:
        return None
    is_old = standard.minor is not None and standard.minor < FIRST_COMPLETE
    return PodSecurityLevel.BASELINE if is_old and standard.level is PodSecurityLevel.RESTRICTED else standard.level


def _minor(version: str) -> int | None:
    found = re.fullmatch(r"v1\.(0|[1-9][0-9]{0,8})", version)
    return int(found[1]) if found else None
