"""Problems of a host that are not a resource: overrides, conflicts, and what prevents K3s from starting. Pure."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from agent.base.repair import RunVerb
from agent.base.report import Level
from agent.findings import (  # noqa: F401 - each module declares its kinds
    admission,
    after_apply_or_revert,
    component_arguments,
    files_and_journal,
    gate_faults,
    k3s_startup,
    kernel_parameters,
    machine,
    manifest_files,
    node,
    overrides,
    secure_defaults,
    settings,
)
from agent.findings.registry import KINDS, Problem, steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.base.report import Finding, Trait
    from agent.findings.registry import FindingKind
    from agent.harden.situation import Situation

__all__ = ["KINDS", "collect_findings", "with_trait"]

_MOST_CASES = 50
"""Maximum number of findings of one kind in a report."""
_ORDER = (Level.ERROR, Level.WARNING, Level.NOTE)


def collect_findings(
    situation: Situation, kinds: Iterable[FindingKind] | None = None, others: Iterable[Finding] = ()
) -> tuple[Finding, ...]:
    """Return the findings of these kinds, None for all, and the others, in the order of a report.

    Those that prevent K3s from starting are first; then by level, then in the order of declaration.
    """
    found: Iterable[Finding] = (
        case
        for kind in (KINDS.values() if kinds is None else kinds)
        if kind.detect is not None
        for case in _cases(kind, kind.detect(situation))
    )
    return tuple(
        sorted((*found, *others), key=lambda finding: (not finding.prevents_start, _ORDER.index(finding.level)))
    )


@cache
def with_trait(trait: Trait) -> frozenset[str]:
    """Return the ids of the kinds that have any of these traits."""
    return frozenset(kind.id for kind in KINDS.values() if kind.traits & trait)


def _cases(kind: FindingKind, problems: Iterator[Problem]) -> Iterator[Finding]:
    """Yield the cases of a kind, and instead of those beyond the maximum one that has their number."""
    yield from map(kind.case, islice(problems, _MOST_CASES))
    left = sum(1 for _ in problems)
    if left:
        again = steps(RunVerb("check"))
        yield kind.case(Problem(f"{left} more findings of this kind are not shown", repair=again))
