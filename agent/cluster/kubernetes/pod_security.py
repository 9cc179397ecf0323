"""Pod Security standards: the level of each namespace, and what each level forbids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import StrEnum

if TYPE_CHECKING:
    from agent.cluster.kubernetes.objects import Namespace

_ENFORCE = "pod-security.kubernetes.io/enforce"
_VERSION = "pod-security.kubernetes.io/enforce-version"
_FIRST_COMPLETE = 22
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


class PodSecurityDefaults(NamedTuple):
    """The Pod Security configuration of the API server."""

    level: PodSecurityLevel | None
    """The level of namespaces without a label; None if it could not be determined."""
    exempt: frozenset[str] = frozenset()
    """The namespaces that are not checked."""
    exempt_requests: tuple[str, ...] = ()
    """The users and runtime classes whose pods are not checked, in words."""
    is_disabled: bool = False
    """Whether the API server does not run the plugin, so that labels have no effect, too."""


def level_of(namespace: Namespace, defaults: PodSecurityDefaults) -> PodSecurityLevel | None:
    """Return the level that is enforced in a namespace; None if it could not be determined."""
    if defaults.is_disabled:
        return PodSecurityLevel.PRIVILEGED
    if namespace.name in defaults.exempt:
        return PodSecurityLevel.EXEMPT
    label = namespace.labels.get(_ENFORCE)
    if label is None:
        return defaults.level
    # The API server enforces `restricted` for an unknown value.
    level = next((level for level in _ORDER if level.value == label), PodSecurityLevel.RESTRICTED)
    version = re.fullmatch(r"v1\.(\d{1,4})", namespace.labels.get(_VERSION, ""), re.ASCII)
    if level is PodSecurityLevel.RESTRICTED and version and int(version[1]) < _FIRST_COMPLETE:
        return PodSecurityLevel.BASELINE
    return level
