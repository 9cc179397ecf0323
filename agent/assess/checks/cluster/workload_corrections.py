"""What to do about workloads that have what a control forbids, and about namespaces that do not forbid it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from shlex import quote
from typing import NamedTuple

from agent.assess.checks.cluster.rule import AssessedCluster, Listed
from agent.base.repair import Instruction, Run, RunVerb, Step
from agent.cluster.kubernetes.objects import Namespace, Workload
from agent.cluster.kubernetes.pod_security import (
    ENFORCE,
    ENFORCE_VERSION,
    PodSecurityDefaults,
    PodSecurityLevel,
    standard_of,
    violations,
)
from agent.cluster.kubernetes.queries import CONTROLLERS, Query, workloads_to_check, workloads_with_controllers
from agent.findings.admission import pod_security_disabled
from agent.findings.config_edits import settings_path, with_item
from agent.findings.impact.pod_security_repairs import Otherwise, corrections

PRIVILEGED = "privileged"
"""The rule about privileged containers, which have all capabilities and no seccomp profile whatever else they have."""
_MOST_CORRECTED = 10
"""Workloads of one control; the next assessment is about others."""
_BY_HAND = Instruction("correct these workloads, or waive the control with the reason why they require it")


class Corrected(NamedTuple):
    """The rules of a Pod Security standard that a workload meets once it is corrected."""

    level: PodSecurityLevel
    rules: tuple[str, ...]
    field: str = ""
    """How the fields end, but for those of PRIVILEGED."""


def corrected(of: AssessedCluster, control: str, found: Iterable[Listed], by: Corrected) -> Iterator[Step]:
    """Yield the steps that correct the first of these workloads."""
    edited = _edited(of)
    waiver = f"{{control: {control}, reason: REASON}}"
    situation, minor = of.node.situation, of.node.facts.version.minor
    otherwise = Otherwise("a waiver records it", with_item(situation, settings_path(situation), "waivers", waiver))
    is_corrected = True
    for title in [seen.title for seen in found][:_MOST_CORRECTED]:
        workload = edited[title]
        broken = [
            violation
            for violation in violations(workload.template, by.level, minor, rules=by.rules)
            if violation.rule == PRIVILEGED or violation.field.endswith(by.field)
        ]
        steps = corrections(title, workload, broken, otherwise, {}) if broken else ()
        yield from steps
        is_corrected = is_corrected and bool(broken)
    if not is_corrected:
        yield _BY_HAND  # a volume of the host behind a claim, or pods that differ from the template


def enforced(
    of: AssessedCluster, namespaces: Sequence[Namespace], level: PodSecurityLevel, defaults: PodSecurityDefaults
) -> Iterator[Step]:
    """Yield the steps after which these namespaces enforce a standard. No label rejects pods that run in them."""
    if defaults.is_disabled:
        edits = [step for problem in pod_security_disabled(of.node.situation) for step in problem.repair.steps]
        yield from edits or (Instruction("restart K3s, whose configuration no longer disables the plugin PodSecurity"),)
        return
    minor, by_hand = of.node.facts.version.minor, []
    templates = [(item.namespace, item.template) for _, item in workloads_to_check(of.cluster)]
    if of.node.situation.plan.changes and any(ENFORCE not in namespace.labels for namespace in namespaces):
        yield RunVerb("apply")  # the default may be the standard after it
        return
    for namespace in namespaces:
        standard = standard_of(namespace, defaults)
        if standard is None or standard.level is PodSecurityLevel.EXEMPT:
            by_hand.append(namespace.name)
            continue
        new = standard.level if standard.level.includes(level) else level
        if any(violations(template, new, minor) for name, template in templates if name == namespace.name):
            by_hand.append(namespace.name)
            continue
        labels = {ENFORCE: str(new), **({} if standard.minor is None else {ENFORCE_VERSION: "latest"})}
        old = {key: namespace.labels.get(key) for key in labels}
        command = f"kubectl label --overwrite namespace {namespace.name}"
        undo = " ".join(f"{key}-" if value is None else quote(f"{key}={value}") for key, value in old.items())
        yield Run(" ".join((command, *map("=".join, labels.items()))), f"{command} {undo}")
    if by_hand:
        yield Instruction(
            f"label {', '.join(by_hand)} with {ENFORCE}={level}, after their pods meet it and they are no longer exempt"
            " in the API server's configuration; or waive the control with the reason"
        )


def _edited(of: AssessedCluster) -> dict[str, Workload]:
    """Return the objects that a person edits, by title: controllers, and pods whose controller is not listed."""
    pods = {pod.title: pod for query, pod in workloads_with_controllers(of.cluster) if query is Query.PODS}
    controllers = {item.own_title: item for query in CONTROLLERS for item in of.cluster.objects[query]}
    return {**pods, **controllers}
