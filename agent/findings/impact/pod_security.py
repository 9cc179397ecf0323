"""Workloads whose pods the Pod Security level of the settings rejects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.rejected_workloads import rejections
from agent.cluster.kubernetes.running_objects import ObjectName
from agent.findings.impact import Break, Reason, Topic, When, advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.kubernetes.pod_security import PodSecurityDefaults
    from agent.cluster.kubernetes.running_objects import Running
    from agent.cluster.pod_security_probe import Difference


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
        yield Break(
            ObjectName(found.workload.namespace, found.workload.kind, found.workload.name),
            Topic.POD_SECURITY,
            When.NEXT_PODS,
            tuple(Reason(violation.field, violation.found, violation.expected) for violation in found.violations),
            found.remediation,
            condition="after K3s' next restart",
        )


def answered_otherwise(difference: Difference) -> Break:
    """Return a workload about which the API server does not answer as predicted."""
    kind, _, path = difference.title.partition(" ")
    namespace, _, name = path.partition("/")
    reason = Reason(
        "dry run of the pod template",
        difference.answer or "admitted",
        "rejected" if difference.predicted else "admitted",
    )
    fix = advice("trust the API server, and report the difference")
    return Break(
        ObjectName(namespace, kind, name), Topic.POD_SECURITY, When.NEXT_PODS, (reason,), fix, is_certain=False
    )
