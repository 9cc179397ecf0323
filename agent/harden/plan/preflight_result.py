"""Result of a preflight: whether another version of K3s would start here, and stay hardened. Pure.

Also the problems that apply would cause, with any version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import ExitCode
from agent.base.report import Fact, Finding, Item, ItemStatus, Level, NextStep, Trait

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agent.base.model import Location
    from agent.base.repair import Repair
    from agent.k3s.upgrade_notes import UpgradeNote

MEANINGS = {
    ExitCode.COMPLIANT: "nothing known prevents K3s of that version from starting, and apply makes the host compliant",
    ExitCode.NOT_COMPLIANT: "K3s of that version would not start, or apply cannot make the host compliant",
}
"""What the exit codes mean for this verb."""


class PreflightProblem(NamedTuple):
    """A finding that the other version would have on this host."""

    finding: Finding
    fixed_by_apply: bool
    """Whether apply for that version fixes it."""
    is_new: bool
    """Whether the current version does not have it."""

    @property
    def is_decisive(self) -> bool:
        """Whether that version would not start, or run less protected, even after apply."""
        finding = self.finding
        return not self.fixed_by_apply and (
            finding.prevents_start or finding.blocks_gate or finding.level is Level.ERROR
        )


class Preflight(NamedTuple):
    """The host with another version of K3s."""

    facts: tuple[Fact, ...]
    current: str
    """The current version of K3s; empty if it is unknown."""
    target: str
    problems: tuple[PreflightProblem, ...]
    changes: tuple[Item, ...]
    """What apply would change or refuse for that version."""
    left: tuple[Item, ...]
    """What would not be compliant after apply."""
    notes: tuple[UpgradeNote, ...]
    next_steps: tuple[NextStep, ...] = ()

    @property
    def would_start(self) -> bool:
        """Whether nothing is known that prevents that version from starting after apply."""
        return not any(problem.finding.prevents_start for problem in self.problems if problem.is_decisive)

    @property
    def is_complete(self) -> bool:
        """Whether all checks were possible."""
        return not any(Trait.NOT_CHECKED in problem.finding.traits for problem in self.problems)

    @property
    def stays_hardened(self) -> bool:
        """Whether the host is compliant after apply for that version."""
        return not self.left and not any(
            problem.is_decisive and not problem.finding.prevents_start for problem in self.problems
        )

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the run."""
        return ExitCode.COMPLIANT if self.would_start and self.stays_hardened else ExitCode.NOT_COMPLIANT


def compared_findings(
    now: Iterable[Finding], before_apply: Iterable[Finding], after_apply: Collection[Finding], fix: Repair
) -> tuple[PreflightProblem, ...]:
    """Compare the findings of the current version with those of the other one, before and after apply.

    Findings of both versions that do not decide anything are omitted: `check` reports them. `fix` is how apply runs for
    the other version.
    """
    present = {_key(finding) for finding in now}
    left = {_key(finding) for finding in after_apply}
    fixed = [finding._replace(repair=fix) for finding in before_apply if _key(finding) not in left]
    found = [
        PreflightProblem(finding, fixed_by_apply=False, is_new=_key(finding) not in present) for finding in after_apply
    ]
    found += [PreflightProblem(finding, fixed_by_apply=True, is_new=_key(finding) not in present) for finding in fixed]
    shown = [
        problem
        for problem in found
        if Trait.OF_RUNNING_K3S not in problem.finding.traits
        and (problem.is_new or problem.is_decisive or Trait.NOT_CHECKED in problem.finding.traits)
    ]
    return tuple(sorted(shown, key=lambda problem: (not problem.is_decisive, problem.fixed_by_apply)))


def problems_caused_by_apply(
    before_apply: Iterable[Finding], after_apply: Iterable[Finding], managed: Collection[str]
) -> tuple[Finding, ...]:
    """Return the errors and warnings that apply causes, for the report before it.

    A finding at a line that already has one is the same problem. In `managed` files, lines move when apply writes them.
    """

    def place(finding: Finding) -> Location | str:
        there = finding.location
        return finding.id if there is None or str(there.path) in managed else there

    present = {place(finding) for finding in before_apply}
    new = (
        finding
        for finding in after_apply
        if place(finding) not in present and Trait.OF_RUNNING_K3S not in finding.traits
    )
    return tuple(
        finding._replace(message=f"after apply: {finding.message}")
        for finding in new
        if finding.level is not Level.NOTE
    )


def not_compliant(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items that are not compliant after apply, without edited files, which have findings of their own."""
    return tuple(item for item in items if item.status not in (ItemStatus.COMPLIANT, ItemStatus.EDITED))


def _key(finding: Finding) -> tuple[str, Location | None, str]:
    return (finding.id, finding.location, finding.found)
