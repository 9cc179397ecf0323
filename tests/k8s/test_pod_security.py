"""Pod Security: what is predicted for pods, compared with the real API server.

POD_SECURITY_PODS is the number of generated pods for each level; `make release-test` tries some thousands.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.base.repair import Decide, Patch, Repair
from agent.cluster.kubernetes import objects
from agent.cluster.kubernetes.objects import Namespace
from agent.cluster.kubernetes.pod_security import ENFORCE, PodSecurityDefaults, PodSecurityLevel, merged_fix, violations
from agent.cluster.kubernetes.queries import CONTROLLERS
from agent.cluster.kubernetes.rejected_workloads import rejections
from agent.cluster.reader import parsed_object
from agent.findings.impact.pod_security_repairs import repair_of
from agent.reports.repair_texts import command
from tests.generated_pods import IMAGE, pods
from tests.k8s.client import Response
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

APPLICATIONS = Path(__file__).parents[1] / "data/pod-security/applications.jsonl"
NUMBER = int(os.environ.get("POD_SECURITY_PODS", "250"))
SEED = 31
PORT = 6444
CREATED, REFUSED, INVALID = 201, 403, 422
LEVELS = (PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED)
VERSIONS = ("latest", "v1.18", "v1.24", "v1.28", "v1.33")
REASONS = {
    "allowPrivilegeEscalation": "allowPrivilegeEscalation != false",
    "appArmorProfile": "forbidden AppArmor profile",
    "capabilities_baseline": "non-default capabilities",
    "capabilities_restricted": "unrestricted capabilities",
    "hostNamespaces": "host namespaces (",
    "hostPathVolumes": "hostPath volumes",
    "hostPorts": "hostPort (",
    "hostProbesAndHostLifecycle": "probe or lifecycle host (",
    "privileged": " privileged (",
    "procMount": "procMount (",
    "procMount_restricted": "procMount (",
    "restrictedVolumes": "restricted volume types",
    "runAsNonRoot": "runAsNonRoot != true",
    "runAsUser": "runAsUser=0",
    "seccompProfile_baseline": "seccompProfile (",
    "seccompProfile_restricted": "seccompProfile (",
    "seLinuxOptions": "seLinuxOptions (",
    "sysctls": "forbidden sysctls",
    "windowsHostProcess": "hostProcess (",
}
"""What the API server writes for each rule."""


def minor_of(node: Node, version: str = "latest") -> int:
    server = int(node.binaries.version.split(".")[1])
    return server if version == "latest" else min(server, int(version.split(".")[1]))


def namespace(node: Node, name: str, level: str, version: str = "latest") -> str:
    labels = {ENFORCE: str(level), f"{ENFORCE}-version": version}
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    return f"/api/v1/namespaces/{name}"


def tried(node: Node, path: str, templates: Iterable[dict[str, Any]]) -> list[Response]:
    bodies = [
        {"metadata": {"name": "tried", "annotations": item["metadata"].get("annotations", {})}, "spec": item["spec"]}
        for item in templates
    ]
    return node.client.answers(PORT, f"{path}/pods?dryRun=All", bodies)


def difference(answer: Response, pod: dict[str, Any], level: PodSecurityLevel, minor: int) -> str:
    """Return how an answer differs from what is predicted; empty if it does not."""
    message = answer.json.get("message", "")
    assert answer.status == CREATED or "violates PodSecurity" in message, message
    predicted = {REASONS[item.rule] for item in violations(objects.pod(pod).template, level, minor)}
    found = {reason for reason in REASONS.values() if reason in message.partition("violates PodSecurity")[2]}
    if pod["spec"].get("hostNetwork"):
        # The API server copies each container port to its host port.
        predicted, found = predicted - {REASONS["hostPorts"]}, found - {REASONS["hostPorts"]}
    is_same = predicted == found and bool(predicted) == (answer.status == REFUSED)
    return "" if is_same else f"predicted {predicted}: {message} for {json.dumps(pod)}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_generated_pods_are_rejected_for_the_predicted_reasons(
    server: Node, level: PodSecurityLevel, version: str
) -> None:
    """The older versions of the standards together get as many pods as the latest."""
    number = NUMBER if version == "latest" else NUMBER // (len(VERSIONS) - 1)
    # An API server finds one pod of eight invalid.
    made = [*pods(SEED + VERSIONS.index(version), number * 5 // 4)]
    path = namespace(server, f"generated-{level}-{version.replace('.', '-')}", level, version)
    answers = tried(server, path, made)
    judged = [(answer, pod) for answer, pod in zip(answers, made) if answer.status != INVALID]
    different = [difference(answer, pod, level, minor_of(server, version)) for answer, pod in judged]
    assert [*filter(None, different)] == []
    assert len(judged) >= number
    statuses = [answer.status for answer, _ in judged]
    assert min(statuses.count(CREATED), statuses.count(REFUSED)) > number // 6


def applications() -> Iterator[dict[str, Any]]:
    yield from map(json.loads, APPLICATIONS.read_text(encoding="utf-8").splitlines()[1:])


@pytest.mark.parametrize("level", LEVELS)
def test_published_applications_are_rejected_as_predicted(server: Node, level: PodSecurityLevel) -> None:
    made = [*applications()]
    path = namespace(server, f"applications-{level}", level)
    for answer, item in zip(tried(server, path, (item["template"] for item in made)), made):
        problem = difference(answer, item["template"], level, minor_of(server))
        assert not problem, (item["application"], item["workload"], problem)
    assert len({item["application"] for item in made}) >= 30


def test_a_patched_template_has_no_warning(server: Node) -> None:
    """Each proposed patch of a generated pod is sent as kubectl sends it."""
    path = namespace(server, "patched", "privileged")
    server.kubectl("label", "namespace", "patched", "pod-security.kubernetes.io/warn=restricted")
    level, minor = PodSecurityLevel.RESTRICTED, minor_of(server)
    found = [(pod, merged_fix(pod, violations(pod, level, minor))) for pod in pods(SEED, NUMBER)]
    fixable = [(pod, fix) for pod, fix in found if fix]
    bodies = [{"metadata": {"generateName": "a-"}, "template": pod} for pod, _ in fixable]
    answers = server.client.answers(PORT, f"{path}/podtemplates", bodies)
    tried_patches = 0
    for answer, (pod, fix) in zip(answers, fixable):
        if answer.status == CREATED:
            target = f"{path}/podtemplates/{answer.json['metadata']['name']}?dryRun=All"
            headers = {"Content-Type": "application/strategic-merge-patch+json"}
            patched = server.client.request("PATCH", PORT, target, headers=headers, body={"template": fix})
            assert patched.status == 200, (pod, fix, patched.text)
            assert "would violate" not in patched.warnings, (pod, fix, patched.warnings)
            tried_patches += 1
    assert tried_patches > NUMBER // 8


LOOSE = {"containers": [{"name": "app", "image": IMAGE}], "initContainers": [{"name": "init", "image": IMAGE}]}


def controller(kind: str) -> dict[str, Any]:
    """Return a controller whose pods `restricted` rejects, and which creates none."""
    labels = {"app": kind.lower()}
    restart = {"restartPolicy": "Never"} if kind in ("Job", "CronJob") else {}
    template: dict[str, Any] = {"metadata": {"labels": labels}, "spec": {**LOOSE, **restart}}
    spec: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": spec}}
    elif kind == "Job":
        spec["suspend"] = True
    else:
        matched: dict[str, Any] = {"matchLabels": labels}
        spec["selector"] = labels if kind == "ReplicationController" else matched
        if kind == "DaemonSet":
            template["spec"]["nodeSelector"] = {"example.com/no": "node"}
        else:
            spec["replicas"] = 0
        if kind == "StatefulSet":
            spec["serviceName"] = "none"
    group = "v1" if kind == "ReplicationController" else "batch/v1" if "Job" in kind else "apps/v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": kind.lower(), "namespace": "pasted"}, "spec": spec}


def test_the_pasted_commands_correct_each_controller(server: Node) -> None:
    namespace(server, "pasted", "privileged")
    server.apply(*(controller(kind) for kind in CONTROLLERS.values()))

    def predicted() -> dict[str, Repair]:
        items = [
            parsed_object(query, item)
            for query in CONTROLLERS
            for item in server.get(query.value, "--namespace=pasted")["items"]
        ]
        today, tomorrow = (PodSecurityDefaults(level) for level in (PodSecurityLevel.PRIVILEGED, LEVELS[1]))
        found = rejections(items, [Namespace("pasted", {})], today, tomorrow, minor_of(server))
        return {item.workload.kind: repair_of(item, None, {}) for item in found}

    repairs = predicted()
    assert repairs.keys() == {*CONTROLLERS.values()}
    for kind, repair in repairs.items():
        answered = [item for step in repair.steps if isinstance(step, Decide) for item in step.answers[0].steps]
        patches = [step for step in (*repair.steps, *answered) if isinstance(step, Patch)]
        for patch in patches if kind != "Job" else ():
            server.kubectl(*shlex.split(command(patch))[1:])
    assert predicted().keys() == {"Job"}
    templates = [server.get("deployments", "--namespace=pasted")["items"][0]["spec"]["template"]]
    path = namespace(server, "pasted-restricted", "restricted")
    assert [answer.status for answer in tried(server, path, [*templates, {"metadata": {}, "spec": LOOSE}])] == [
        201,
        403,
    ]


def test_the_probe_agrees_and_leaves_nothing_behind(server: Node) -> None:
    """The API server is asked about each pod and controller of the node, and answers as predicted."""
    done = server.harden("impact", "--probe", "--format", "json", timeout=300)
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert any("the API server was asked about" in note for note in found["notes"])
    assert "dry run of the pod template" not in done.stdout
    names = server.kubectl("get", "namespaces", "--output=name").split()
    left = [name for name in names if "k3s-harden-impact-" in name]
    if left:
        server.kubectl("wait", "--for=delete", "--timeout=60s", *left)
