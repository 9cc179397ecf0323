"""Server-side dry runs of pods that break one rule each: what the API server admits in a namespace."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agent.base.errors import HardenError
from agent.cluster.connection import CREATED, connect_as_admin
from agent.cluster.kubernetes import parsing
from agent.cluster.kubernetes.broken_pods import CONTROLS, broken_pod
from agent.cluster.kubernetes.queries import PROBES
from agent.cluster.reader import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.base.host.https import HttpsClient
    from agent.cluster.kubernetes.objects import Json, Workload
    from agent.cluster.kubernetes.queries import Cluster

_MUTATED = "an admission plugin that corrects the pod"
_MOST_NAMESPACES = 50
"""Namespaces that are probed."""
_REJECTION = re.compile(
    r'pods "[^"]*" is forbidden: (?:violates (?P<security>PodSecurity "[^"]*"): '
    r"|(?P<policy>ValidatingAdmissionPolicy '[^']*' with binding '[^']*') denied request: )"
    r'|admission (?P<webhook>webhook "[^"]*") denied the request'
)
"""The messages of what rejects a pod because of its content.

(pod-security-admission, admission/admission.go; apiserver, pkg/admission/plugin/policy/validating/dispatcher.go and
plugin/webhook/errors/statuserror.go)
"""


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
    if len(namespaces) > _MOST_NAMESPACES:
        of_all = f"{_MOST_NAMESPACES} of {len(namespaces)} namespaces without exemption"
        problems["namespaces to probe"] = f"probed only the first {of_all}"
    answers: dict[tuple[str, str], str] = {}
    try:
        with connect_as_admin(host, data_dir, LIMITS) as client:
            for namespace in namespaces[:_MOST_NAMESPACES]:
                status, answer = _dry_run(client, namespace, "")
                if status != CREATED:
                    why = parsing.as_string(parsing.as_mapping(answer).get("message")) or f"HTTP status {status}"
                    text = f"cannot probe namespace {namespace}: no pod is admitted: {why[:200]}"
                    problems[f"probe {namespace}"] = text
                    continue
                for control in CONTROLS:
                    status, answer = _dry_run(client, namespace, control)
                    if status == CREATED:
                        is_broken = breaks(control, parsing.pod(answer))
                        answers[namespace, control] = "" if is_broken else _MUTATED
                    elif rejected_by(answer):
                        answers[namespace, control] = rejected_by(answer)
    except HardenError as error:
        problems[PROBES] = error.message
    return cluster._replace(problems=problems, probes=answers)


def _dry_run(client: HttpsClient, namespace: str, control: str) -> tuple[int, Any]:
    """Return the status and the answer of the API server about a pod."""
    response = client.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", json.dumps(broken_pod(control)).encode())
    try:
        return response.status, json.loads(response.body)
    except (ValueError, RecursionError):
        return 0, None


def rejected_by(answer: Json) -> str:
    """Return what rejects a pod by an answer of the API server; empty if it does not because of the pod's content."""
    found = _REJECTION.match(parsing.as_string(parsing.as_mapping(answer).get("message")))
    return next(filter(None, found.groups()), "") if found else ""
