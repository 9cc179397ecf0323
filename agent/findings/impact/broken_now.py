"""Workloads whose pods Pod Security rejects now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Remediation, ShellCommand
from agent.findings.impact import Break, Reason, Topic, When, advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.kubernetes.running_objects import Running
    from agent.cluster.kubernetes.traffic import Cluster

_REJECTED = "violates PodSecurity "
_LONGEST = 300


def broken_now(running: Running, cluster: Cluster) -> Iterator[Break]:
    """Yield the controllers that have fewer pods than wanted, and events of rejected pods."""
    messages = {event.object: event.message for event in running.objects.get("events", ())}
    for _, network, missing in running.workloads:
        title = cluster.title(network)
        own = title._replace(kind=network.kind, name=network.name)
        rejected = messages.get(own, "").partition(_REJECTED)[2][:_LONGEST]
        if rejected and (missing or network.kind in {"Job", "CronJob"}) and not network.is_over:
            yield Break(
                title,
                Topic.POD_SECURITY,
                When.NOW,
                (Reason("events", rejected, "pods that the API server admits"),),
                advice("correct its pod template, or exempt its namespace"),
            )
        elif missing and own not in messages and own == title:
            yield Break(
                title,
                Topic.POD_SECURITY,
                When.NOW,
                (Reason("status.replicas", f"{missing} fewer than wanted", "all pods that it should have created"),),
                Remediation((ShellCommand(f"kubectl describe {title.kind} {title.name} -n {title.namespace}"),)),
                is_certain=False,
            )
