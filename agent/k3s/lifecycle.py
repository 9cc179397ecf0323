"""What ends: minor versions of Kubernetes, end_of_life.tsv, and versions of its APIs, removed_apis.tsv. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data

if TYPE_CHECKING:
    from agent.k3s.roles_and_versions import Version


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
