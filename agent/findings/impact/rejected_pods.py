"""Workloads whose pods Pod Security rejects: now, and by the level of the settings."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agent.base.repair import Repair, Run
from agent.cluster.kubernetes.rejected_workloads import rejections
from agent.cluster.kubernetes.running_objects import ObjectName
from agent.findings.impact import Break, Reason, Topic, When, advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.kubernetes.network_policies import PodNetwork
    from agent.cluster.kubernetes.pod_security import PodSecurityDefaults
    from agent.cluster.kubernetes.running_objects import Running
    from agent.cluster.pod_security_probe import UnexpectedAnswer

_REJECTED = "violates PodSecurity "
_LONGEST = 300


def broken_now(running: Running, cluster: PodNetwork) -> Iterator[Break]:
    """Yield the controllers that have fewer pods than wanted, and events of rejected pods."""
    messages = {event.object: event.message for event in running.objects.get("events", ())}
    for _, network, missing in running.workloads:
        title = cluster.title(network)
        own = title._replace(kind=network.kind, name=network.name)
        rejected = messages.get(own, "").partition(_REJECTED)[2][:_LONGEST]
        if rejected and (missing or network.kind in {"Job", "CronJob"}) and not network.is_over:
            reason = Reason("events", rejected, "pods that the API server admits")
            fix = advice("correct its pod template, or exempt its namespace")
            yield Break(title, Topic.POD_SECURITY, When.NOW, (reason,), fix)
        elif missing and own not in messages and own == title:
            reason = Reason("status.replicas", f"{missing} fewer than wanted", "all pods that it should have created")
            command = shlex.join(("kubectl", "describe", title.kind, title.name, "-n", title.namespace))
            fix = Repair((Run(command),))
            yield Break(title, Topic.POD_SECURITY, When.NOW, (reason,), fix, is_certain=False)


def pod_security_breaks(
    running: Running, today: PodSecurityDefaults, tomorrow: PodSecurityDefaults, minor: int
) -> Iterator[Break]:
    """Yield the workloads that are admitted today and rejected tomorrow, by an API server of version 1.`minor`."""
    if tomorrow.level is None and not tomorrow.is_disabled:
        reason = Reason("admission-control-config-file", "a file that could not be read", "the level of the settings")
        fix = advice("run `k3s-harden check`, and correct what it reports about the file")
        name = ObjectName("", "PodSecurity", "")
        yield Break(name, Topic.POD_SECURITY, When.RESTART, (reason,), fix, is_certain=False)
        return
    workloads = [workload.security for workload in running.workloads]
    for found in rejections(workloads, running.objects.get("namespaces", ()), today, tomorrow, minor):
        name = ObjectName(found.workload.namespace, found.workload.kind, found.workload.name)
        reasons = tuple(Reason(violation.field, violation.found, violation.expected) for violation in found.violations)
        condition = "after K3s' next restart"
        yield Break(name, Topic.POD_SECURITY, When.NEXT_PODS, reasons, found.repair, condition=condition)


def answered_otherwise(difference: UnexpectedAnswer) -> Break:
    """Return a workload about which the API server does not answer as predicted."""
    kind, _, path = difference.title.partition(" ")
    namespace, _, name = path.partition("/")
    expected = "rejected" if difference.predicted else "admitted"
    reason = Reason("dry run of the pod template", difference.answer or "admitted", expected)
    fix = advice("trust the API server, and report the difference")
    of = ObjectName(namespace, kind, name)
    return Break(of, Topic.POD_SECURITY, When.NEXT_PODS, (reason,), fix, is_certain=False)
