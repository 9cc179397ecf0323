"""The API server's own answers about pods and pod templates: dry runs, and one temporary namespace.

The label `warn` of the namespace has the level: the answer to a dry run of a PodTemplate, which creates nothing, has a
warning if the API server would reject the pods.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.host.https import HttpsClient, Response
from agent.base.repair import Instruction, Run
from agent.cluster.connection import CREATED, NOT_FOUND, OK, StatusError, accepted, connect_as_admin, rejection
from agent.cluster.kubernetes import objects
from agent.cluster.kubernetes.objects import Json, Workload, as_mapping, at
from agent.cluster.kubernetes.pod_security import (
    CONTROLS,
    OF_CONTAINERS,
    Standard,
    broken_container,
    broken_pod,
    violations,
)
from agent.cluster.kubernetes.queries import PROBES, QUERIES, REQUESTS, Cluster, Probe, Query
from agent.cluster.reader import LIMITS, Reader, parsed_object

_MUTATED = "an admission plugin that corrects the pod"
_MOST_NAMESPACES = 50
"""Namespaces that are probed."""
_LIMITS = LIMITS._replace(total=60.0)
"""A namespace takes about 90 requests."""
_DRY_RUN = "?dryRun=All"
_OF_ADMIN, _EPHEMERAL = "of an administrator", "in an ephemeral container"
_REJECTION = re.compile(
    r'pods "[^"]*" is forbidden: (?:violates (?P<security>PodSecurity "[^"]*"): '
    r"|(?P<policy>ValidatingAdmissionPolicy '[^']*' with binding '[^']*') denied request: )"
    r'|admission (?P<webhook>webhook "[^"]*") denied the request'
)
"""The messages of what rejects a pod because of its content.

(pod-security-admission, admission/admission.go; apiserver, pkg/admission/plugin/policy/validating/dispatcher.go and
plugin/webhook/errors/statuserror.go)
"""


class ToProbe(NamedTuple):
    """What is asked about."""

    namespaces: Sequence[str]
    creators: Sequence[str]
    """The users that create pods."""
    breaks: Callable[[str, Workload], bool]
    """Whether a pod breaks the rule of a control: admission can correct it."""


def probed(host: Host, data_dir: PurePosixPath, cluster: Cluster, what: ToProbe) -> Cluster:
    """Return the cluster with the answers about pods. Raises no exception."""
    namespaces = what.namespaces
    problems = dict(cluster.problems)
    if len(namespaces) > _MOST_NAMESPACES:
        of_all = f"{_MOST_NAMESPACES} of {len(namespaces)} namespaces without exemption"
        problems["namespaces to probe"] = f"probed only the first {of_all}"
    probes: dict[tuple[str, str], Probe] = {}
    pods = [pod for pod in cluster.objects.get(Query.PODS, ()) if not pod.is_dormant]
    running = {pod.namespace: pod.name for pod in pods if not pod.controller.startswith("Node ")}  # no static pods
    try:
        with connect_as_admin(host, data_dir, _LIMITS) as client:
            for namespace in namespaces[:_MOST_NAMESPACES]:
                path = f"/api/v1/namespaces/{namespace}/pods"
                status, answer = _answer(client.post(path + _DRY_RUN, json.dumps(broken_pod()).encode()))
                if status != CREATED:
                    why = objects.as_string(objects.as_mapping(answer).get("message")) or f"HTTP status {status}"
                    text = f"cannot probe namespace {namespace}: no pod is admitted: {why[:200]}"
                    problems[f"probe {namespace}"] = text
                    continue
                for control in CONTROLS:
                    requests = _dry_runs(client, path, control, running.get(namespace, ""), what.creators)
                    if probe := _judged(requests, partial(what.breaks, control)):
                        probes[namespace, control] = probe
    except HardenError as error:
        problems[PROBES] = error.message
    return cluster._replace(problems=problems, probes=probes)


def _dry_runs(
    client: HttpsClient, path: str, control: str, running: str, creators: Sequence[str]
) -> Iterator[tuple[str, Response]]:
    """Yield the answers about pods that break the rule of a control, each with which one it is."""
    if control in OF_CONTAINERS:
        pod = broken_pod(control, "initContainers")
        yield "in an init container", client.post(path + _DRY_RUN, json.dumps(pod).encode(), creators[0])
        # The API server accepts no new pod with one.
        if running:
            patch = {"spec": {"ephemeralContainers": [{**broken_container(control), "name": "debug", "resources": {}}]}}
            at_pod = f"{path}/{running}/ephemeralcontainers{_DRY_RUN}"
            answer = client.patch(at_pod, json.dumps(patch).encode(), "application/strategic-merge-patch+json")
            yield _EPHEMERAL, answer
    pod = json.dumps(broken_pod(control)).encode()
    for creator in creators:
        yield f"of {creator}", client.post(path + _DRY_RUN, pod, creator)
    yield _OF_ADMIN, client.post(path + _DRY_RUN, pod)


def _judged(answers: Iterator[tuple[str, Response]], breaks: Callable[[Workload], bool]) -> Probe | None:
    """Return what the answers say together; None if none of them is about the content of the pod."""
    rejected: dict[str, str] = {}
    admitted: list[str] = []
    for which, response in answers:
        status, answer = _answer(response)
        if status in (CREATED, OK):
            if breaks(objects.pod(answer)):
                admitted.append(which)
            else:
                rejected[which] = _MUTATED
        elif rejected_by(answer):
            rejected[which] = rejected_by(answer)
    rejecting = ", ".join(dict.fromkeys(rejected.values()))
    # A policy can except administrators, who can do everything. Only they are asked about an ephemeral container.
    of_others = [which for which in admitted if _OF_ADMIN not in admitted or which not in (_OF_ADMIN, _EPHEMERAL)]
    if rejected and not of_others:
        return Probe(rejecting, _OF_ADMIN if admitted else "")
    return Probe("", " and ".join(admitted) if rejected else "") if admitted else None


def _answer(response: Response) -> tuple[int, Any]:
    """Return the status and the object of an answer."""
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
                raise HostError(_DOES_NOT_JUDGE, Instruction("omit --probe"))
            yield probe
        finally:
            with connect() as another:  # it has time of its own
                answer = another.delete(f"{_NAMESPACES}/{name}")
            if answer.status not in (OK, _ACCEPTED, NOT_FOUND):
                delete = Run(f"kubectl delete namespace {name}")
                raise StatusError(f"delete the temporary namespace {name}", answer.status, delete)
