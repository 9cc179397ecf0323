"""What is wrong with a host but is no resource of ours: what overrides, contradicts or outlives the hardening. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.findings import files, k3s, kernel, manifests, site, undone
from agent.findings.registry import KINDS, of
from agent.findings.undone import after_release, after_revert, after_uninstall
from agent.report import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.report import Finding
    from agent.situation import Situation

__all__ = [
    "KINDS",
    "after_release",
    "after_revert",
    "after_uninstall",
    "collect",
    "files",
    "k3s",
    "kernel",
    "manifests",
    "site",
    "undone",
]

_ORDER = (Level.ERROR, Level.WARNING, Level.NOTE)


def collect(seen: Situation) -> tuple[Finding, ...]:
    """All findings, gathered in one run: errors first, then in the order they are declared."""
    found: Iterable[Finding] = (of(name, trouble) for name, kind in KINDS.items() for trouble in kind.detect(seen))
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.level)))
