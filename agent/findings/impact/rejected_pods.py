"""Workloads whose pods Pod Security rejects: now, and by the level of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.value import replace
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.kubernetes.rejected_workloads import rejections
from agent.cluster.kubernetes.running_objects import ObjectName
from agent.findings.impact import Break, Reason, Topic, When, advice
from agent.findings.impact.pod_security_repairs import repair_of, stage_level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.base.repair import Repair
    from agent.cluster.kubernetes.network_policies import PodNetwork
    from agent.cluster.kubernetes.rejected_workloads import RejectedWorkload
    from agent.cluster.kubernetes.running_objects import Running
    from agent.cluster.pod_security_probe import UnexpectedAnswer
    from agent.findings.impact.pod_security_repairs import Stage

_REJECTED = "violates PodSecurity "
_LONGEST = 300
_NOT_HARDENED = PodSecurityDefaults(PodSecurityLevel.PRIVILEGED)
_CORRECT = advice("correct its pod template, or exempt its namespace")


class Levels(NamedTuple):
    """What an API server enforces by default."""

    today: PodSecurityDefaults
    tomorrow: PodSecurityDefaults
    """After K3s' next restart."""
    minor: int
    """Its version is 1.`minor`."""


def pod_security_breaks(running: Running, cluster: PodNetwork, levels: Levels, stage: Stage) -> Iterator[Break]:
    """Yield the workloads that lack pods, that cannot create their pods again, and that cannot after the next restart.

    `stage` is what can be postponed.
    """
    today, tomorrow, minor = levels
    workloads = [workload.security for workload in running.workloads]
    namespaces = running.objects.get("namespaces", ())
    in_effect = [] if today.level is None else rejections(workloads, namespaces, _NOT_HARDENED, today, minor)
    is_known = tomorrow.level is not None or tomorrow.is_disabled
    coming = rejections(workloads, namespaces, today, tomorrow, minor) if is_known else []
    stage = replace(stage, level=stage_level(coming))
    users = _users(running, cluster)
    rejected = {_name(found): found for found in (*coming, *in_effect)}
    new = frozenset(map(id, coming))
    repairs = {
        name: repair_of(found, stage if id(found) in new else None, users.get(name, {}))
        for name, found in rejected.items()
    }
    suspects = rejected if today.level is None else {_name(found): found for found in in_effect}
    broken = {
        entry.object: entry for entry in _broken_now(running, cluster, suspects, repairs, is_certain=bool(today.level))
    }
    yield from broken.values()
    if not is_known:
        reason = Reason("admission-control-config-file", "a file that could not be read", "the level of the settings")
        fix = advice("run `k3s-harden check`, and correct what it reports about the file")
        name = ObjectName("", "PodSecurity", "")
        yield Break(name, Topic.POD_SECURITY, When.RESTART, (reason,), fix, is_certain=False)
    for name, found in rejected.items():
        if name not in broken:
            is_new = id(found) in new
            condition = "after K3s' next restart" if is_new else "such as on another node after a drain"
            fields = (name, Topic.POD_SECURITY, When.NEXT_PODS, _reasons(found), repairs[name])
            yield Break(*fields, condition=condition, is_new=is_new)


def _broken_now(
    running: Running,
    cluster: PodNetwork,
    suspects: Mapping[ObjectName, RejectedWorkload],
    repairs: Mapping[ObjectName, Repair],
    *,
    is_certain: bool,
) -> Iterator[Break]:
    """Yield the controllers that have fewer pods than wanted because of Pod Security."""
    messages = {event.object: event.message for event in running.objects.get("events", ())}
    for _, network, missing, _ in running.workloads:
        title = cluster.title(network)
        own = title._replace(kind=network.kind, name=network.name)
        rejected = messages.get(own, "").partition(_REJECTED)[2][:_LONGEST]
        if rejected and (missing or network.kind in {"Job", "CronJob"}) and not network.is_over:
            reason = Reason("events", rejected, "pods that the API server admits")
            fix = repairs[title] if title in suspects else _CORRECT
            yield Break(title, Topic.POD_SECURITY, When.NOW, (reason,), fix, is_new=False)
        elif missing and own not in messages and own == title and own in suspects:
            lacking = Reason("status.replicas", f"{missing} fewer than wanted", "all pods that it should have created")
            reasons = (lacking, *_reasons(suspects[own]))
            fields = (title, Topic.POD_SECURITY, When.NOW, reasons, repairs[own])
            yield Break(*fields, is_certain=is_certain, is_new=False)


def _name(found: RejectedWorkload) -> ObjectName:
    kind, _, path = found.title.partition(" ")
    return ObjectName(found.workload.namespace, kind, path.partition("/")[2])


def _users(running: Running, cluster: PodNetwork) -> dict[ObjectName, dict[str, int]]:
    """Return the users of the running containers of each workload."""
    users: dict[ObjectName, dict[str, int]] = {}
    for _, network, _, running_as in running.workloads:
        title = cluster.title(network)
        for container, user in running_as.items():
            # Pods of one workload can have different images during a rollout.
            users.setdefault(title, {}).setdefault(container, user)
            users[title][container] = min(user, users[title][container])
    return users


def _reasons(found: RejectedWorkload) -> tuple[Reason, ...]:
    return tuple(Reason(violation.field, violation.found, violation.expected) for violation in found.violations)


def answered_otherwise(difference: UnexpectedAnswer) -> Break:
    """Return a workload about which the API server does not answer as predicted."""
    kind, _, path = difference.title.partition(" ")
    namespace, _, name = path.partition("/")
    expected = "rejected" if difference.predicted else "admitted"
    reason = Reason("dry run of the pod template", difference.answer or "admitted", expected)
    fix = advice("trust the API server, and report the difference")
    of = ObjectName(namespace, kind, name)
    return Break(of, Topic.POD_SECURITY, When.NEXT_PODS, (reason,), fix, is_certain=False)
