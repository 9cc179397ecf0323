"""What is wrong with a host but is no resource of ours: what overrides, contradicts or outlives the hardening. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.findings import aftermath, files, k3s, kernel, manifests, node
from agent.findings.aftermath import after_release, after_revert, after_uninstall
from agent.findings.registry import KINDS
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
    "aftermath",
    "collect",
    "files",
    "k3s",
    "kernel",
    "manifests",
    "node",
]

_ORDER = (Level.ERROR, Level.WARNING, Level.NOTE)


def collect(seen: Situation) -> tuple[Finding, ...]:
    """All findings, gathered in one run: errors first, then in the order they are declared."""
    found: Iterable[Finding] = (
        kind.case(trouble) for kind in KINDS.values() if kind.detect is not None for trouble in kind.detect(seen)
    )
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.level)))
