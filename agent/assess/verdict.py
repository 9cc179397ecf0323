"""Verdicts on the controls of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus, Verdict
from agent.assess.checks.answer import Answer, Evidence
from agent.assess.checks.check import DATA_DIR
from agent.assess.checks.manual import NotInK3s
from agent.assess.fixes import remediation_of
from agent.base.model import Role
from agent.k3s.components.arguments import GivenBy

if TYPE_CHECKING:
    from agent.assess.assessment import Waiver
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.k3s.cis.versions import Benchmark

_WAIVABLE = (ControlStatus.FAIL, ControlStatus.MANUAL)
"""A waiver of a manual control records the result of the review. Nobody knows what a waiver of UNKNOWN would accept."""

_MOST_EVIDENCE = 100

_ROLE = {Role.SERVER: "a server", Role.AGENT: "an agent"}


def verdict(control: BenchmarkControl, benchmark: Benchmark, node: AssessedNode, waiver: Waiver | None) -> Verdict:
    """Return the verdict on one control; the waiver applies only if the control would be open or manual."""
    check = control.check_of(benchmark)
    mismatch = "" if isinstance(check, NotInK3s) else _mismatch(control, node)
    answer = Answer(ControlStatus.NOT_APPLICABLE, reason=mismatch) if mismatch else check.answer(node)
    if node.cluster is not None and not mismatch:
        from agent.assess.running_values import confirmed

        answer = confirmed(check, answer, node)
    if node.situation.k3s_files.policies and not mismatch:
        from agent.assess.checks.static_policies import evidence_for

        answer = answer._replace(evidence=(*answer.evidence, *evidence_for(check, control.guide, node)))
    is_waived = waiver is not None and answer.status in _WAIVABLE
    return Verdict(
        control=control,
        number=control.numbers.get(benchmark),
        status=ControlStatus.WAIVED if is_waived else answer.status,
        expected="" if mismatch else answer.expected or check.expected.replace(DATA_DIR, str(node.facts.data_dir)),
        found=_found(answer, node),
        evidence=_limited(tuple(dict.fromkeys(answer.evidence))),
        reason=answer.reason,
        remediation=remediation_of(control, answer, node.available_settings),
        waiver=waiver if is_waived else None,
    )


def _limited(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Return the evidence; instead of items beyond the maximum one with their number."""
    left = len(evidence) - _MOST_EVIDENCE
    return (*evidence[:_MOST_EVIDENCE], Evidence(f"{left} more are not shown")) if left > 0 else evidence


def _found(answer: Answer, node: AssessedNode) -> str:
    """Return the found value. On a host without K3s, a value that is only a default of K3s is marked."""
    if node.is_installed or answer.status is not ControlStatus.PASS or answer.given_by is not GivenBy.K3S:
        return answer.found
    return f"{answer.found} (default of K3s {node.facts.version})"


def _mismatch(control: BenchmarkControl, node: AssessedNode) -> str:
    """Return why a control does not apply to this host; empty if it applies."""
    roles, versions = control.applies.roles, control.applies.versions
    if node.facts.role not in roles:
        return f"it applies to {next(iter(roles))}s, and this is {_ROLE[node.facts.role]}"
    if not versions.includes(node.facts.version):
        return f"it applies to K3s {versions}, and this is {node.facts.version}"
    return ""
