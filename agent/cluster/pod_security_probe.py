"""The API server's own answers about pods and pod templates: dry runs, and one temporary namespace.

The label `warn` of the namespace has the level: the answer to a dry run of a PodTemplate, which creates nothing, has a
warning if the API server would reject the pods.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.errors import HardenError, HostError
from agent.cluster.connection import CREATED, NOT_FOUND, OK, StatusError, accepted, connect_as_admin, rejection
from agent.cluster.kubernetes import objects
from agent.cluster.kubernetes.objects import as_mapping, at
from agent.cluster.kubernetes.pod_security import CONTROLS, broken_pod, violations
from agent.cluster.kubernetes.queries import PROBES, QUERIES, REQUESTS
from agent.cluster.reader import LIMITS, Reader, parsed_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.base.host.https import HttpsClient
    from agent.cluster.kubernetes.objects import Json, Workload
    from agent.cluster.kubernetes.pod_security import Standard
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
                    why = objects.as_string(objects.as_mapping(answer).get("message")) or f"HTTP status {status}"
                    text = f"cannot probe namespace {namespace}: no pod is admitted: {why[:200]}"
                    problems[f"probe {namespace}"] = text
                    continue
                for control in CONTROLS:
                    status, answer = _dry_run(client, namespace, control)
                    if status == CREATED:
                        is_broken = breaks(control, objects.pod(answer))
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
    found = _REJECTION.match(objects.as_string(objects.as_mapping(answer).get("message")))
    return next(filter(None, found.groups()), "") if found else ""


_NAMESPACES = "/api/v1/namespaces"
_LABELS = "pod-security.kubernetes.io"
_ACCEPTED = 202
_KNOWN_BAD = {"spec": {"hostNetwork": True, "containers": [{"name": "control", "image": "none"}]}}
_DOES_NOT_JUDGE = "the API server does not judge pods: this user is exempt, or the plugin PodSecurity is disabled"


class UnexpectedAnswer(NamedTuple):
    """A workload for which the API server does not answer as predicted."""

    title: str
    predicted: bool
    """Whether its pods are predicted to be rejected."""
    answer: str
    """Why the API server rejects them, or cannot judge them; empty if it admits them."""


class PodSecurityProbe:
    """A temporary namespace, and what the API server has answered there."""

    def __init__(self, client: HttpsClient, path: str, standard: Standard, minor: int) -> None:
        self._client = client
        self._path = f"{path}/podtemplates?dryRun=All"
        self._level = standard.level
        self._minor = minor if standard.minor is None else min(minor, standard.minor)
        self.answers: dict[str, str] = {}
        """By template."""
        self.differences: list[UnexpectedAnswer] = []

    def judging(self, parse: Callable[[Json], Workload]) -> Callable[[Json], Workload]:
        """Return a parser of pods or controllers that also asks the API server about each object."""

        def judged(item: Json) -> Workload:
            workload = parse(item)
            # The pod template of a controller, or the pod itself.
            spec, job = at(item, "spec"), at(item, "spec", "jobTemplate", "spec")
            answer = self.ask(as_mapping((job or spec).get("template")) or as_mapping(item))
            predicted = bool(violations(workload.template, self._level, self._minor))
            if bool(answer) != predicted and not workload.is_dormant:
                self.differences.append(UnexpectedAnswer(workload.own_title, predicted, answer))
            return workload

        return judged

    def ask(self, template: Json) -> str:
        """Return why the API server rejects the pods of a template; empty if it admits them."""
        spec = {key: value for key, value in at(template, "spec").items() if key != "ephemeralContainers"}
        of_pods = {"metadata": {"annotations": at(template, "metadata", "annotations")}, "spec": spec}
        body = {"metadata": {"name": "probe"}, "template": of_pods}
        text = json.dumps(body, sort_keys=True)
        if text not in self.answers:
            answer = self._client.post(self._path, text.encode())
            found = [warning for warning in answer.warnings if "violate PodSecurity" in warning]
            if answer.status != CREATED:
                found = [f"not judged: {rejection(answer.status)}"]
            self.answers[text] = "; ".join(found)
        return self.answers[text]


def probe_workloads(connect: Callable[[], HttpsClient], standard: Standard, minor: int) -> PodSecurityProbe:
    """Return the answers about all workloads. Raises HostError if there are none."""
    with pod_security_probe(connect, standard, minor) as probe, connect() as client:
        for query in QUERIES:
            Reader(client).listed(REQUESTS[query], probe.judging(partial(parsed_object, query)))
    return probe


@contextmanager
def pod_security_probe(
    connect: Callable[[], HttpsClient], standard: Standard, minor: int
) -> Iterator[PodSecurityProbe]:
    """Yield a probe of a standard for an API server of version 1.`minor`, and delete its namespace afterwards.

    Raises HostError if the API server cannot be asked, or does not judge a pod that is known to be bad.
    """
    name = f"k3s-harden-impact-{secrets.token_hex(4)}"
    # `enforce` does not apply to templates; it makes a namespace harmless that a killed run leaves behind.
    labels = {f"{_LABELS}/{mode}": str(standard.level) for mode in ("enforce", "warn")}
    labels[f"{_LABELS}/warn-version"] = "latest" if standard.minor is None else f"v1.{standard.minor}"
    with connect() as client:
        try:
            made = client.post(_NAMESPACES, json.dumps({"metadata": {"name": name, "labels": labels}}).encode())
            accepted(made, "create a temporary namespace", CREATED)
            probe = PodSecurityProbe(client, f"{_NAMESPACES}/{name}", standard, minor)
            if "violate" not in probe.ask(_KNOWN_BAD):
                raise HostError(_DOES_NOT_JUDGE, "omit --probe")
            yield probe
        finally:
            with connect() as another:  # it has time of its own
                answer = another.delete(f"{_NAMESPACES}/{name}")
            if answer.status not in (OK, _ACCEPTED, NOT_FOUND):
                hint = f"kubectl delete namespace {name}"
                raise StatusError(f"delete the temporary namespace {name}", answer.status, hint)
