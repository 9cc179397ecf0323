"""Verdicts on the controls of a benchmark, and the fixes of those that are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus, Verdict
from agent.assess.checks.answer import Answer, ChangedBy, Evidence, UnmetRequirement
from agent.assess.checks.check import DATA_DIR, NotInK3s
from agent.base.model import Location
from agent.base.repair import NO_REPAIR, FixOwner, Instruction, Repair, RunVerb
from agent.harden.guide.k3s_options import OptionRow
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.roles_and_versions import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.assess.assessment import Waiver
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.base.repair import Step
    from agent.k3s.cis.versions import Benchmark

_WAIVABLE = (ControlStatus.FAIL, ControlStatus.MANUAL)
"""A waiver of a manual control records the result of the review. Nobody knows what a waiver of UNKNOWN would accept."""

_MOST_EVIDENCE = 100

_ROLE = {Role.SERVER: "a server", Role.AGENT: "an agent"}

_APPLY = RunVerb("apply")
_CLUSTER_OBJECT = Instruction(
    "edit the Cluster object below spec.rkeConfig, in machineGlobalConfig or in the machineSelectorConfig of this node"
)
_BY_RANCHER = (
    RunVerb("render", ("rancher-cluster",)),
    Instruction("put the output into the Cluster object"),
)
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
    if node.cluster is not None and not mismatch:
        from agent.assess.running_values import confirmed

        answer = confirmed(check, answer, node)
    in_force = None
    if node.effects and not mismatch:
        from agent.assess.checks.effect import observed

        answer, in_force = observed(control.id, answer, node.effects)
    if node.situation.k3s_files.policies and not mismatch:
        from agent.assess.checks.static_policy_checks import evidence_for

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
        repair=_repair_of(control, answer, node.available_settings),
        waiver=waiver if is_waived else None,
        is_reviewed=is_waived and answer.status is ControlStatus.MANUAL,
        in_force=in_force,
    )


def _mismatch(control: BenchmarkControl, node: AssessedNode) -> str:
    """Return why a control does not apply to this host; empty if it applies."""
    roles, versions = control.applies.roles, control.applies.versions
    if node.facts.role not in roles:
        return f"it applies to {next(iter(roles))}s, and this is {_ROLE[node.facts.role]}"
    if not versions.includes(node.facts.version):
        return f"it applies to K3s {versions}, and this is {node.facts.version}"
    return ""


def _repair_of(control: BenchmarkControl, answer: Answer, settings: Mapping[str, str]) -> Repair:
    """Return the fix of an open control with its owner. If the control passes, the owner is who meets it.

    `settings` has the line of each setting that the site can add, by its key.
    """
    if answer.status is ControlStatus.NOT_APPLICABLE:
        return NO_REPAIR
    if answer.status is ControlStatus.PASS:
        return Repair(owner=_MET_BY[answer.given_by])
    unmet = answer.unmet
    if answer.status is ControlStatus.FAIL and not unmet.is_complete:
        return _fix(control, unmet, settings.get(control.setting, ""))
    if answer.status is ControlStatus.UNKNOWN and not unmet.edits:
        return Repair((RunVerb("explain", (control.id,)), Instruction("check the control by hand")))
    owner = FixOwner.K3S if unmet.changed_by is ChangedBy.K3S else FixOwner.OPERATOR
    return Repair((*_upwards(unmet.edits), *unmet.then), owner, unmet.restart)


def _fix(control: BenchmarkControl, unmet: UnmetRequirement, setting: str) -> Repair:
    if unmet.changed_by is ChangedBy.APPLY:
        owner = FixOwner.OPERATOR if unmet.before_apply else FixOwner.APPLY
        return Repair((*unmet.before_apply, _APPLY), owner, unmet.restart)
    caution = (Instruction(control.caution),) if control.caution else ()
    by_hand = (Instruction(control.needed_by_hand),) if control.needed_by_hand else ()
    add = (Instruction(f"add `{setting}`", Location(DEFAULT_SETTINGS)),) if setting else ()
    own = control.repair or Repair()
    edits = _upwards(unmet.edits) if unmet.edits else own.steps
    if unmet.changed_by is ChangedBy.RANCHER:
        # From the Cluster object, Rancher writes K3s' configuration of its nodes.
        is_rendered = isinstance(control.guide, OptionRow)
        return Repair(_BY_RANCHER if is_rendered else (_CLUSTER_OBJECT, *caution, *by_hand, *edits))
    if setting and unmet.changed_by is ChangedBy.SITE:
        # A list of arguments has one author: by hand, it would repeat what the setting adds.
        is_other_way = bool(edits) and not control.check.is_decided_by_argument
        alternative = Repair((*caution, *by_hand, *edits)) if is_other_way else None
        return Repair((*caution, *unmet.before_apply, *add, _APPLY), restart=unmet.restart, alternative=alternative)
    if by_hand and add:  # the setting includes the additional step, and `apply` follows the edits
        return Repair((*caution, *edits, *add, *unmet.then), restart=unmet.restart)
    restart, alternative = (unmet.restart, None) if unmet.edits else (own.restart, own.alternative)
    return Repair((*caution, *by_hand, *edits, *unmet.then), restart=restart, alternative=alternative)


def _upwards(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return the steps with the edits of one file from its last line to its first; files stay in their order.

    A removal changes the numbers of the lines below it.
    """

    def line_of(step: Step) -> int:
        return step.location.line if isinstance(step, Instruction) and step.location else 0

    by_file: dict[object, list[Step]] = {}
    for number, step in enumerate(steps):
        location = step.location if isinstance(step, Instruction) else None
        by_file.setdefault(location.path if location and location.line else number, []).append(step)
    return tuple(step for inside in by_file.values() for step in sorted(inside, key=line_of, reverse=True))
