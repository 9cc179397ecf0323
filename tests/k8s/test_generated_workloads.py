"""Generated workloads: a control lists one exactly if a pod that it has, or would create, breaks its rule.

The API server's own Pod Security and admission decide about the pods, in dry runs.
WORKLOADS is their number; `make release-test` tries some hundreds.
"""

from __future__ import annotations

import json
import os
import random
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from agent.cluster.kubernetes.pod_security import PodSecurityLevel
from agent.k3s.cis.versions import pod_security_standards
from tests.generated_pods import IMAGE, Json, pods
from tests.k8s.assessments import assessed, hardened_server, in_cluster
from tests.k8s.binaries import Binaries
from tests.k8s.node import Node
from tests.k8s.test_pod_security import CREATED, INVALID, PORT, REASONS, namespace, tried

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("cluster")]

NUMBER, AT_ONCE, SEED = int(os.environ.get("WORKLOADS", "80")), 80, 47
"""An answer lists at most 100 workloads."""
NAME = "generated-privileged"
LEVELS = [level for level in PodSecurityLevel if level is not PodSecurityLevel.EXEMPT]
GROUPS = dict.fromkeys(("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"), "apps")
GROUPS |= {"Pod": "", "ReplicationController": "", "Job": "batch", "CronJob": "batch"}
EDITED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")
"""Controllers that keep the pods of their template before an edit: a Deployment because it is paused then."""
ON_DELETE = {"serviceName": "none", "updateStrategy": {"type": "OnDelete"}}
VOLUMES: list[Json] = [
    {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    {"projected": {"sources": [{"secret": {"name": "bearer"}}]}},
    {"secret": {"secretName": "bearer"}},
    {"secret": {"secretName": "plain"}},
    *({"persistentVolumeClaim": {"claimName": claim}} for claim in ("host", "local", "storage", "nfs", "none")),
]
VARIABLES: list[Json] = [
    *(
        {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}]}
        for name in ("bearer", "a")
    ),
    *({"envFrom": [{"secretRef": {"name": name}}]} for name in ("bearer", "a")),
]
NODES = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}
PERSISTENT: dict[str, Json] = {
    "host": {"hostPath": {"path": "/srv"}},
    "local": {"local": {"path": "/srv"}, "nodeAffinity": NODES},
    "storage": {"hostPath": {"path": "/var/lib/rancher/k3s/storage/pvc-1"}},
    "nfs": {"nfs": {"server": "a", "path": "/"}},
}
TEXTS = {
    "pods-privileged": REASONS["privileged"],
    "pods-host-pid": "hostPID=true",
    "pods-host-ipc": "hostIPC=true",
    "pods-host-network": "hostNetwork=true",
    "pods-host-ports": REASONS["hostPorts"],
    "pods-privilege-escalation": REASONS["allowPrivilegeEscalation"],
    "pods-added-capabilities": "securityContext.capabilities.add",
    "pods-assigned-capabilities": "securityContext.capabilities.drop",
    "pods-windows-host-process": REASONS["windowsHostProcess"],
    "pods-host-path": REASONS["hostPathVolumes"],
    "pods-proc-mount": REASONS["procMount"],
}
"""What the API server writes about the rule of a control."""
OTHERS = ("pods-root", "pods-net-raw", "pods-seccomp")
"""Controls about what is in effect. None lists a workload whose pods `restricted` admits."""


class Pods(NamedTuple):
    """What the API server answers about the pods of a template."""

    rejected: dict[str, str]
    """Why, by the level of the namespace."""
    spec: Json
    """With the volumes that admission adds."""

    def breaks(self, control: str) -> bool:
        text = json.dumps(self.spec)
        is_privileged = TEXTS["pods-privileged"] in self.rejected["restricted"]
        also = {
            "pods-host-path": any(f'"claimName": "{claim}"' in text for claim in ("host", "local")),
            "pods-added-capabilities": is_privileged,
            "pods-assigned-capabilities": is_privileged,
            "service-account-token-mounts": '"serviceAccountToken"' in text or '"bearer"' in text,
            "secrets-as-files": '"secretKeyRef"' in text or '"secretRef"' in text,
        }
        level = pod_security_standards().get(control, "")
        return also.get(control, False) or (control in TEXTS and TEXTS[control] in self.rejected[level])


class Made(NamedTuple):
    """A pod or controller, with the templates that it has one after the other."""

    kind: str
    name: str
    templates: list[tuple[Json, Pods]]

    def object(self, number: int) -> Json:
        template, labels = self.templates[number][0], {"app": self.name}
        pod: Json = {"metadata": {**template["metadata"], "labels": labels}, "spec": {**template["spec"]}}
        del pod["metadata"]["name"]
        more: Json = {"metadata": {"name": self.name, "namespace": NAME}}
        if self.kind == "Pod":
            # Its last init container becomes an ephemeral one.
            inits = [item for item in pod["spec"].get("initContainers", []) if item["name"] != "debug"]
            more = {
                "metadata": {**more["metadata"], **pod["metadata"]},
                "spec": {**pod["spec"], "initContainers": inits},
            }
        elif "Job" in self.kind:
            job = {
                "template": {**pod, "spec": {**pod["spec"], "restartPolicy": "Never"}},
                "suspend": self.kind == "Job",
            }
            more["spec"] = job if self.kind == "Job" else {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}
        else:
            selector: Json = {"matchLabels": labels}
            selector = labels if self.kind == "ReplicationController" else selector
            own: Json = {"paused": True} if self.kind == "Deployment" and number else {}
            own = ON_DELETE if self.kind == "StatefulSet" else own
            own = {**own, "strategy": {"type": "Recreate"}} if self.kind == "Deployment" else own
            more["spec"] = {"template": pod, "selector": selector, **own}
        return {**in_cluster(self.kind, self.name, GROUPS[self.kind]), **more}

    @property
    def debug(self) -> list[Json]:
        spec = self.templates[0][0]["spec"]
        return [item for item in spec.get("initContainers", []) if item["name"] == "debug" and self.kind == "Pod"]


@pytest.fixture(scope="module")
def node(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with hardened_server(tmp_path_factory.mktemp("workloads"), binaries) as server:
        server.create_namespaces(*(f"generated-{level}" for level in LEVELS))
        for level in LEVELS:
            namespace(server, f"generated-{level}", level)
            quiet = {"metadata": {"name": "quiet", "namespace": f"generated-{level}"}}
            server.apply({**in_cluster("ServiceAccount", "quiet"), **quiet, "automountServiceAccountToken": False})
        token = {"name": "bearer", "namespace": NAME, "annotations": {"kubernetes.io/service-account.name": "default"}}
        server.apply({**in_cluster("Secret", "", type="kubernetes.io/service-account-token"), "metadata": token})
        size, mode = {"storage": "1Gi"}, ["ReadWriteOnce"]
        for name, source in PERSISTENT.items():
            spec = {"capacity": size, "accessModes": mode, "storageClassName": "", **source}
            claim = {"resources": {"requests": size}, "accessModes": mode, "storageClassName": "", "volumeName": name}
            made = in_cluster("PersistentVolumeClaim", name, spec=claim)
            inside = {"metadata": {"name": name, "namespace": NAME}}
            server.apply(in_cluster("PersistentVolume", name, spec=spec), {**made, **inside})
        words = ("get", "persistentvolumeclaims", f"--namespace={NAME}", "--output=jsonpath={.items[*].status.phase}")
        server.until("the claims are bound", lambda: {*server.kubectl(*words).split()} == {"Bound"})
        yield server


def generated(node: Node, seed: int) -> list[Made]:
    """Return workloads of valid pods, with the answers about each of their templates."""
    chance = random.Random(seed)  # noqa: S311 - states of a test
    templates = [*pods(seed, AT_ONCE * 3)]
    for spec in (pod["spec"] for pod in templates):
        spec["automountServiceAccountToken"] = chance.choice([None, False, False, False, True])
        spec["serviceAccountName"] = chance.choice(["default", "quiet"])
        if chance.random() < 0.4:
            context = chance.choice(chance.choice(templates)["spec"]["containers"]).get("securityContext", {})
            debug = {"name": "debug", "image": IMAGE, "securityContext": context}
            spec["initContainers"] = [*spec.get("initContainers", []), debug]
        if chance.random() < 0.4:
            spec["volumes"] = [*spec.get("volumes", []), {"name": "more", **chance.choice(VOLUMES)}]
        if chance.random() < 0.2:
            chance.choice([*spec["containers"], *spec.get("initContainers", [])]).update(chance.choice(VARIABLES))
    asked = {level: tried(node, f"/api/v1/namespaces/generated-{level}", templates) for level in LEVELS}
    valid = []
    for number, template in enumerate(templates):
        answers = {level: asked[level][number] for level in LEVELS}
        stored = answers[PodSecurityLevel.PRIVILEGED]
        if stored.status != INVALID:
            assert stored.status == CREATED, stored.text
            messages = {str(level): answer.json.get("message", "") for level, answer in answers.items()}
            valid.append((template, Pods(messages, stored.json["spec"])))
    made: list[Made] = []
    while len(made) < AT_ONCE and len(valid) > 1:
        kind = chance.choice([*GROUPS, "Pod", "Pod"])
        made.append(Made(kind, f"w{len(made)}", [valid.pop() for _ in range(2 if kind in EDITED else 1)]))
    return made


def create(node: Node, made: list[Made]) -> None:
    """Create workloads, and edit those that have two templates after they have pods of the first."""
    node.apply(*(item.object(0) for item in made))
    pods_of = {item.name for item in made if item.kind in {*EDITED, "Pod"}}
    words = ("get", "pods", f"--namespace={NAME}", "--output=jsonpath={.items[*].metadata.labels.app}")
    node.until("the controllers create pods", lambda: {*node.kubectl(*words).split()} == pods_of)
    for item in made:
        if item.debug:
            path = f"/api/v1/namespaces/{NAME}/pods/{item.name}/ephemeralcontainers"
            headers = {"Content-Type": "application/strategic-merge-patch+json"}
            body = {"spec": {"ephemeralContainers": item.debug}}
            answer = node.client.request("PATCH", PORT, path, headers=headers, body=body)
            assert answer.status == 200, answer.text
    edited = [item for item in made if len(item.templates) > 1]
    if edited:
        node.apply(*(item.object(1) for item in edited))
    wait_for_controllers(node)


def wait_for_controllers(node: Node) -> None:
    """Wait until the controllers have seen all edits."""

    def are_observed() -> bool:
        found = node.get(",".join(EDITED), f"--namespace={NAME}")["items"]
        return all(
            item["status"].get("observedGeneration") == item["metadata"]["generation"]
            for item in found
            if not item["metadata"].get("ownerReferences")
        )

    node.until("the controllers have seen the edits", are_observed)


def is_wrong(control: str, answers: list[Pods], *, is_listed: bool) -> bool:
    if control in OTHERS:
        in_user_namespace = any(pod.spec.get("hostUsers") is False for pod in answers)
        return is_listed and not any(pod.rejected["restricted"] for pod in answers) and not in_user_namespace
    if control == "pods-host-ports" and any(pod.spec.get("hostNetwork") for pod in answers):
        return False  # the API server copies each container port to its host port, in pods and not in templates
    return is_listed != any(pod.breaks(control) for pod in answers)


@pytest.mark.parametrize("seed", range(SEED, SEED + NUMBER // AT_ONCE))
def test_a_control_lists_a_workload_exactly_if_one_of_its_pods_breaks_the_rule(node: Node, seed: int) -> None:
    made = generated(node, seed)
    create(node, made)
    # An older benchmark has the control about added capabilities.
    reports = assessed(node, "-v", "--benchmark", "1.11"), assessed(node, "-v")
    verdicts = {item["id"]: item for report in reports for item in report.json["verdicts"]}
    different = []
    for control in (*TEXTS, *OTHERS, "service-account-token-mounts", "secrets-as-files"):
        observations = [item["observation"] for item in verdicts[control]["evidence"]]
        listed = {text.split(": ")[0]: text for text in observations}
        for item in made:
            title, answers = f"{item.kind} {NAME}/{item.name}", [answer for _, answer in item.templates]
            if is_wrong(control, answers, is_listed=title in listed):
                different.append((control, listed.get(title), title, item.templates))
    node.kubectl("delete", ",".join(GROUPS), "--all", f"--namespace={NAME}")
    assert different == []


FOLLOWED = 30
"""Workloads whose corrections are carried out."""


def patches(steps: list[Json]) -> Iterator[Json]:
    """Yield the patches with a command, also those that follow an answer."""
    for step in steps:
        if step["kind"] == "patch" and step["command"]:
            yield step
        for answer in step.get("answers", []):
            yield from patches(answer["steps"])


def test_the_patches_of_a_control_correct_each_controller(node: Node) -> None:
    """The API server accepts each one, and afterwards the control does not list the controller."""
    made = [item._replace(templates=item.templates[:1]) for item in generated(node, SEED - 1)[:FOLLOWED]]
    create(node, made)
    listed: set[tuple[str, str]] = set()
    patched: set[tuple[str, str]] = set()
    labels = ",".join(item.name for item in made if item.kind != "Pod")
    for _ in range(4):
        reports = assessed(node, "-v", "--benchmark", "1.11"), assessed(node, "-v")
        verdicts = {item["id"]: item for report in reports for item in report.json["verdicts"]}
        failed = {name: verdicts[name] for name in (*TEXTS, *OTHERS) if verdicts[name]["status"] == "FAIL"}
        listed = {
            (name, seen["observation"].partition(": ")[0])
            for name, found in failed.items()
            for seen in found["evidence"]
        }
        for name, found in failed.items():
            for patch in patches(found["repair"]["steps"]):
                assert (name, patch["target"]) not in patched, patch["command"]
                patched.add((name, patch["target"]))
                done = node.try_kubectl(*shlex.split(patch["command"])[1:])
                assert done.returncode == 0, (patch["command"], done.stderr)
        wait_for_controllers(node)
        # As a rollout does, which needs a kubelet.
        words = ("--force", "--grace-period=0", f"--namespace={NAME}", f"--selector=app in ({labels})")
        node.kubectl("delete", "pods", *words)
    node.kubectl("delete", ",".join(GROUPS), "--all", f"--namespace={NAME}")
    assert patched.isdisjoint(listed)
    assert len({name for name, _ in patched}) > 4
