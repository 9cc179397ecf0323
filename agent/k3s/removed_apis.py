"""API versions that Kubernetes removed, by kind: removed_apis.tsv. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data

if TYPE_CHECKING:
    from agent.base.model import Version


class Removal(NamedTuple):
    """The removal of one API version of some kinds."""

    minor: int
    """The first minor version without it."""
    api_version: str
    kinds: frozenset[str]
    instead: str
    """The API version that replaces it."""


REMOVALS = tuple(
    [
        Removal(int(minor), api_version, frozenset(kinds.split()), instead)
        for minor, api_version, kinds, instead in package_data.rows("k3s", "removed_apis.tsv")
    ]
)
"""By version."""


def removal_of(api_version: str, kind: str, version: Version) -> Removal | None:
    """Return the removal if this version of Kubernetes does not have the API version of the kind."""
    found = (removal for removal in REMOVALS if removal.api_version == api_version and kind in removal.kinds)
    return next((removal for removal in found if version.minor >= removal.minor), None)
