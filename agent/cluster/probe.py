"""Server-side dry runs of pods that break one rule each: what the API server admits in a namespace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.base.errors import HardenError
from agent.cluster.connection import connect_as_admin
from agent.cluster.kubernetes import parsing
from agent.cluster.kubernetes.probes import CONTROLS, MOST_NAMESPACES, pod, rejected_by
from agent.cluster.reader import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.base.host.https import HttpsClient
    from agent.cluster.kubernetes.objects import Cluster, Workload

_CREATED = 201
_MUTATED = "an admission plugin that corrects the pod"


def probed(
    host: Host,
    data_dir: PurePosixPath,
    cluster: Cluster,
    namespaces: Sequence[str],
    breaks: Callable[[str, Workload], bool],
) -> Cluster:
    """Return the cluster with the answers about pods in these namespaces.

    `breaks` returns whether a pod breaks the rule of a control: admission can correct it. Raises no exception.
    """
    problems = dict(cluster.problems)
    if len(namespaces) > MOST_NAMESPACES:
        number = len(namespaces)
        problems["probes"] = f"probed only the first {MOST_NAMESPACES} of {number} namespaces without exemption"
    answers: dict[tuple[str, str], str] = {}
    try:
        client, _ = connect_as_admin(host, data_dir, LIMITS)
        with client:
            for namespace in namespaces[:MOST_NAMESPACES]:
                status, answer = _dry_run(client, namespace, "")
                if status != _CREATED:
                    why = parsing.as_string(parsing.as_mapping(answer).get("message")) or f"HTTP status {status}"
                    text = f"cannot probe namespace {namespace}: no pod is admitted: {why[:200]}"
                    problems[f"probe {namespace}"] = text
                    continue
                for control in CONTROLS:
                    status, answer = _dry_run(client, namespace, control)
                    if status == _CREATED:
                        is_broken = breaks(control, parsing.pod(answer))
                        answers[namespace, control] = "" if is_broken else _MUTATED
                    elif rejected_by(answer):
                        answers[namespace, control] = rejected_by(answer)
    except HardenError as error:
        problems["probes"] = error.message
    return cluster._replace(problems=problems, probes=answers)


def _dry_run(client: HttpsClient, namespace: str, control: str) -> tuple[int, Any]:
    """Return the status and the answer of the API server about a pod."""
    response = client.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", json.dumps(pod(control)).encode())
    try:
        return response.status, json.loads(response.body)
    except (ValueError, RecursionError):
        return 0, None
