"""Workloads whose pods another Pod Security configuration rejects when they are created again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.cluster.kubernetes.objects import Json, Namespace, Workload, as_mapping
from agent.cluster.kubernetes.pod_security import (
    PodSecurityDefaults,
    PodSecurityLevel,
    Standard,
    Violation,
    merged_fix,
    standard_of,
    violations,
)

_COPIES = {("Deployment", "ReplicaSet"), ("CronJob", "Job")}
"""Controllers that create other ones with their template."""

_EDITED_IN_PLACE = ("ReplicaSet", "ReplicationController")
"""Controllers whose pods stay as they are if the template changes, without a revision that shows it."""

_CREATORS = {
    "ReplicaSet": "replicaset-controller",
    "Deployment": "replicaset-controller",
    "DaemonSet": "daemon-set-controller",
    "StatefulSet": "statefulset-controller",
    "ReplicationController": "replication-controller",
    "Job": "job-controller",
    "CronJob": "job-controller",
}
"""The account in kube-system that creates the pods of each kind of controller."""


class JudgedWorkload(NamedTuple):
    """A workload, and the templates of the pods that it creates next."""

    title: str
    """The object that a person edits: pods of a controller that is not listed have the title of that."""
    workload: Workload
    """A controller, or a pod without a controller that is listed."""
    templates: tuple[Mapping[str, Json], ...]


class RejectedWorkload(NamedTuple):
    """A workload whose pods the API server will reject."""

    title: str
    workload: Workload
    standard: Standard
    violations: tuple[Violation, ...]
    level: PodSecurityLevel
    """The strictest level that admits it."""
    label: PodSecurityLevel
    """The strictest level of the namespace that admits all of its workloads that no patch corrects, and this one."""

    @property
    def fix(self) -> Mapping[str, Json] | None:
        """A strategic merge patch of the template; None if only another standard admits the pods."""
        asks = any(violation.asks for violation in self.violations)
        return None if asks else merged_fix(self.workload.template, self.violations)


def judged_workloads(workloads: Iterable[Workload]) -> list[JudgedWorkload]:
    """Return each workload that creates pods with what these pods have.

    Pods decide if they were created from the present template, because webhooks change what a template has. Finished
    Jobs, earlier revisions, and finished pods without a controller create no more pods.
    """
    listed = [*workloads]
    controllers = {workload.own_title: workload for workload in listed if workload.kind != "Pod"}
    children: dict[str, list[Workload]] = defaultdict(list)
    for workload in listed:
        if workload.controller:
            children[workload.title].append(workload)
    judged: dict[str, tuple[Workload, list[Mapping[str, Json]]]] = {}
    for workload in listed:
        parent = controllers.get(workload.title) if workload.controller else None
        if workload.is_dormant or (parent is not None and (workload.kind == "Pod" or _is_copy(workload, parent))):
            continue
        found = _templates_of_pods(workload, children)
        if not found or (parent is None and workload.kind in _EDITED_IN_PLACE):
            found.append(workload.template)
        title = workload.title if workload.kind == "Pod" else workload.own_title
        judged.setdefault(title, (workload, []))[1].extend(found)
    # Most pods of a controller differ in nothing that is judged.
    return [
        JudgedWorkload(title, workload, tuple({json.dumps(template): template for template in templates}.values()))
        for title, (workload, templates) in judged.items()
    ]


def _templates_of_pods(workload: Workload, children: Mapping[str, list[Workload]]) -> list[Mapping[str, Json]]:
    """Return what the pods have that were created from the present template."""
    if workload.kind == "Pod":
        return [workload.template]
    copies = (child for child in children.get(workload.own_title, ()) if _is_copy(child, workload))
    return [template for child in copies for template in _templates_of_pods(child, children)]


def _is_copy(child: Workload, parent: Workload) -> bool:
    """Return whether a pod or controller was created from the present template of its controller."""
    if child.kind == "Pod":
        return child.revision == parent.revision
    return (parent.kind, child.kind) in _COPIES and parent.template == child.template


def rejections(
    workloads: Iterable[Workload],
    namespaces: Iterable[Namespace],
    today: PodSecurityDefaults,
    tomorrow: PodSecurityDefaults,
    minor: int,
) -> list[RejectedWorkload]:
    """Return the workloads that are admitted today and rejected tomorrow by an API server of version 1.`minor`.

    The configuration of tomorrow must be known. If that of today is not known, all pods count as admitted.
    """
    by_name = {namespace.name: namespace for namespace in namespaces}
    found: list[RejectedWorkload] = []
    for judged in judged_workloads(workloads):
        title, workload, templates = judged
        namespace = by_name.get(workload.namespace) or Namespace(workload.namespace, {})
        before, after = standard_of(namespace, today), standard_of(namespace, tomorrow)
        admitted = [template for template in templates if not _violated(workload, [template], before, today, minor)]
        violated = _violated(workload, admitted, after, tomorrow, minor)
        if after is not None and violated:
            baseline = after._replace(level=PodSecurityLevel.BASELINE)
            is_worse = _violated(workload, admitted, baseline, tomorrow, minor)
            level = PodSecurityLevel.PRIVILEGED if is_worse else PodSecurityLevel.BASELINE
            found.append(RejectedWorkload(title, workload, after, tuple(violated), level, level))
    needed = {
        rejection.workload.namespace
        for rejection in found
        if rejection.fix is None and rejection.label is PodSecurityLevel.PRIVILEGED
    }
    return [
        rejection._replace(label=PodSecurityLevel.PRIVILEGED) if rejection.workload.namespace in needed else rejection
        for rejection in found
    ]


def _violated(
    workload: Workload,
    templates: Iterable[Mapping[str, Json]],
    standard: Standard | None,
    defaults: PodSecurityDefaults,
    minor: int,
) -> list[Violation]:
    """Return the violations of all templates, each once."""
    account = f"system:serviceaccount:kube-system:{_CREATORS.get(workload.kind)}"
    if standard is None or account in defaults.users:
        return []
    found: dict[tuple[str, ...], Violation] = {}
    for template in templates:
        spec = as_mapping(template.get("spec"))
        if spec.get("runtimeClassName") not in defaults.runtime_classes:
            # No pod is created with ephemeral containers.
            created = {**template, "spec": {**spec, "ephemeralContainers": []}}
            version = minor if standard.minor is None else min(minor, standard.minor)
            new = violations(created, standard.level, version, has_gate=defaults.has_gate)
            found.update((violation[:4], violation) for violation in new)
    return [*found.values()]
