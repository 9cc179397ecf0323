"""Verdicts on the controls of a benchmark, and the fixes of those that are open."""

from __future__ import annotations

from collections.abc import Iterable

from agent.assess.assessment import ControlStatus, Verdict, Waiver
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.answer import Answer, Evidence
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import DATA_DIR, NotInK3s
from agent.base.repair import NO_REPAIR, Edit, FixOwner, Repair, RunVerb, Step
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.roles_and_versions import Role

_WAIVABLE = (ControlStatus.FAIL, ControlStatus.MANUAL)
"""A waiver of a manual control records the result of the review. Nobody knows what a waiver of UNKNOWN would accept."""

_SHOWN = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.PASS)
"""What a running node shows, the worst first."""

_MOST_EVIDENCE = 100

_ROLE = {Role.SERVER: "a server", Role.AGENT: "an agent"}

_MET_BY = {
    GivenBy.DROPIN: FixOwner.APPLY,
    GivenBy.K3S: FixOwner.K3S,
    GivenBy.OPERATOR: FixOwner.OPERATOR,
    GivenBy.KUBELET_FILE: FixOwner.OPERATOR,
    None: FixOwner.NONE,
}


def verdict(control: BenchmarkControl, benchmark: Benchmark, node: AssessedNode, waiver: Waiver | None) -> Verdict:
    """Return the verdict on one control; the waiver applies only if the control would be open or manual."""
    check = control.check_of(benchmark)
    mismatch = "" if isinstance(check, NotInK3s) else _mismatch(control, node)
    answer = Answer(ControlStatus.NOT_APPLICABLE, reason=mismatch) if mismatch else check.answer(node)
    configured, shown = answer.status, [answer.status] if node.effects and check.shows_effect else []
    if node.cluster is not None and not mismatch:
        from agent.assess.running_values import confirmed

        running = confirmed(check, answer, node)
        shown += [running.status] if running is not answer else []
        answer = running
    if node.effects and not mismatch:
        from agent.assess.checks.answer import observed

        answer, found = observed(control.id, answer, node.effects)
        shown += [found] if found else []
    if node.situation.k3s_files.policies and not mismatch:
        from agent.assess.checks.policy_checks import evidence_for

        answer = answer._replace(evidence=(*answer.evidence, *evidence_for(check, control.guide, node)))
    # On a host without K3s, a value that is only a default of K3s is marked.
    is_default = answer.status is ControlStatus.PASS and answer.given_by is GivenBy.K3S and not node.is_installed
    is_waived = waiver is not None and answer.status in _WAIVABLE
    evidence = tuple(dict.fromkeys(answer.evidence))
    left_out = len(evidence) - _MOST_EVIDENCE
    if left_out > 0:
        evidence = (*evidence[:_MOST_EVIDENCE], Evidence(f"{left_out} more are not shown"))
    return Verdict(
        control=control,
        number=control.numbers.get(benchmark),
        status=ControlStatus.WAIVED if is_waived else answer.status,
        expected="" if mismatch else answer.expected or check.expected.replace(DATA_DIR, str(node.facts.data_dir)),
        found=f"{answer.found} (default of K3s {node.facts.version})" if is_default else answer.found,
        evidence=evidence,
        reason=answer.reason,
        repair=_repair_of(control, answer),
        waiver=waiver if is_waived else None,
        met_by=_MET_BY[answer.given_by],
        awaits_start=answer.awaits_start,
        awaits_correction_of=answer.awaits,
        is_reviewed=is_waived and answer.status is ControlStatus.MANUAL,
        configured=configured,
        in_force=min((status for status in shown if status in _SHOWN), key=_SHOWN.index, default=None),
    )


def _mismatch(control: BenchmarkControl, node: AssessedNode) -> str:
    """Return why a control does not apply to this host; empty if it applies."""
    roles, versions = control.applies.roles, control.applies.versions
    if node.facts.role not in roles:
        return f"it applies to {next(iter(roles))}s, and this is {_ROLE[node.facts.role]}"
    if not versions.includes(node.facts.version):
        return f"it applies to K3s {versions}, and this is {node.facts.version}"
    return ""


def _repair_of(control: BenchmarkControl, answer: Answer) -> Repair:
    if not answer.status.is_open and answer.status is not ControlStatus.MANUAL:
        return NO_REPAIR
    repair = answer.repair
    if repair == NO_REPAIR:
        return Repair((RunVerb("explain", (control.id,)),))
    risk = control.caution if answer.status is ControlStatus.FAIL and repair.owner is FixOwner.OPERATOR else ""
    return replace(repair, steps=_upwards(repair.steps), risk=risk)


def _upwards(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return the steps with the edits of one file from its last line to its first; files stay in their order.

    A removal changes the numbers of the lines below it.
    """

    def line_of(step: Step) -> int:
        return step.location.line if isinstance(step, Edit) else 0

    by_file: dict[object, list[Step]] = {}
    for number, step in enumerate(steps):
        location = step.location if isinstance(step, Edit) else None
        by_file.setdefault(location.path if location and location.line else number, []).append(step)
    return tuple(step for inside in by_file.values() for step in sorted(inside, key=line_of, reverse=True))
