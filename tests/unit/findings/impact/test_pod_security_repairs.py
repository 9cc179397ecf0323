"""Repairs of workloads that Pod Security rejects: no step stops a container, and none deletes data."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath
from typing import Any

import pytest

from agent.base.model import Location
from agent.base.repair import Decide, Patch, Repair, Run, Set
from agent.base.value import replace
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.kubernetes.queries import CONTROLLERS
from agent.findings.impact import Topic
from agent.harden.settings.schema import DEFAULT_SETTINGS, Settings
from agent.reports.repair_texts import command
from tests.unit.cluster.kubernetes.samples import STRICT
from tests.unit.findings.impact.sample_cluster import Json, container, impact, pod, thing

UNTIL = "2027-03-02"
BASELINE = PodSecurityDefaults(PodSecurityLevel.BASELINE)
RESTRICTED = PodSecurityDefaults(PodSecurityLevel.RESTRICTED)
LABEL = "kubectl label --overwrite namespace shop pod-security.kubernetes.io/enforce="


def controller(kind: str, spec: Json, **metadata: Any) -> Json:
    body: Json = {"template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}
    body = {"jobTemplate": {"spec": body}} if kind == "CronJob" else body
    return thing(kind, "web", "shop", spec=body, metadata=metadata)


WEB = controller("Deployment", {"containers": [container()]})


def owned(kind: str, name: str) -> list[Json]:
    return [{"controller": True, "kind": kind, "name": name}]


def marked(kind: str, prefix: str, name: str, namespace: str) -> Json:
    return {kind: {f"{prefix}name": name, f"{prefix}namespace": namespace}}


def repairs(*objects: Json, **more: Any) -> dict[str, Repair]:
    found = impact(*objects, level=PodSecurityLevel.RESTRICTED, **more).breaks
    return {str(entry.object): entry.repair for entry in found if entry.topic is Topic.POD_SECURITY}


def only(*objects: Json, **more: Any) -> Repair:
    (found,) = repairs(*objects, **more).values()
    return found


def test_first_the_level_is_postponed_and_then_only_fields_that_cannot_stop_the_image_are_set() -> None:
    repair = only(WEB)
    stage, until, patch, question = repair.steps
    file = Location(DEFAULT_SETTINGS)
    assert (stage, until) == (Set("stages.pod-security", "baseline", file), Set("stages.until", UNTIL, file))
    assert isinstance(patch, Patch)
    assert (patch.target, patch.owner) == ("Deployment shop/web", "")
    assert dict(patch.fields) == {
        "spec.template.spec.containers[main].securityContext.allowPrivilegeEscalation": "false",
        "spec.template.spec.securityContext.seccompProfile.type": '"RuntimeDefault"',
    }
    assert isinstance(question, Decide)
    yes, no = question.answers
    (for_users,) = yes.steps
    assert isinstance(for_users, Patch)
    assert dict(for_users.fields) == {
        "spec.template.spec.containers[main].securityContext.capabilities.drop": '["ALL"]',
        "spec.template.spec.securityContext.runAsNonRoot": "true",
    }
    undo = "kubectl label namespace shop pod-security.kubernetes.io/enforce-"
    assert no.steps == (Run(f"{LABEL}baseline", undo),)


def test_a_stage_that_exists_keeps_its_day() -> None:
    settings = replace(Settings(), stages_until="2027-01-31")
    steps = only(WEB, settings=settings).steps
    assert [step.key for step in steps if isinstance(step, Set)] == ["stages.pod-security"]


def test_the_settings_file_of_the_run_is_named() -> None:
    step = only(WEB, settings_file=PurePosixPath("/srv/own.yaml")).steps[0]
    assert isinstance(step, Set)
    assert str(step.location) == "/srv/own.yaml"


def test_a_level_that_is_in_effect_is_lowered_by_the_label_of_the_namespace_at_once() -> None:
    repair = only(WEB, today=RESTRICTED)
    assert repair.steps[0] == Run(f"{LABEL}baseline")
    assert repair.alternative is None


@pytest.mark.parametrize(("user", "number"), [(1000, "1000"), (0, ""), (None, "")])
def test_a_user_that_the_kubelet_reports_needs_no_question_unless_it_is_root(user: int | None, number: str) -> None:
    status = [{"name": "main", "user": {"linux": {"uid": user}}}]
    running = pod("web-1", "shop", "10.42.1.5", container(), metadata={"ownerReferences": owned("StatefulSet", "web")})
    running["status"]["containerStatuses"] = status
    steps = only(controller("StatefulSet", {"containers": [container()]}), running).steps
    fields = {name: value for step in steps if isinstance(step, Patch) for name, value in step.fields}
    path = "spec.template.spec.containers[main].securityContext.runAsUser"
    assert fields.get(path, "") == number
    assert any(isinstance(step, Decide) for step in steps) is not bool(number)


def test_a_user_of_the_template_is_not_set_again() -> None:
    spec = {"containers": [container()], "securityContext": {"runAsUser": 1000}}
    steps = only(controller("Deployment", spec)).steps
    fields = {name for step in steps if isinstance(step, Patch) for name, _ in step.fields}
    assert "spec.template.spec.securityContext.runAsNonRoot" in fields
    assert not any(name.endswith("runAsUser") for name in fields)


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        (marked("annotations", "meta.helm.sh/release-", "web", "shop"), "Helm release shop/web"),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "site:apps/Deployment:shop/web"}},
            "Argo CD Application site",
        ),
        (marked("labels", "kustomize.toolkit.fluxcd.io/", "apps", "flux"), "Flux Kustomization flux/apps"),
        (marked("annotations", "objectset.rio.cattle.io/owner-", "web", "kube-system"), "K3s Addon kube-system/web"),
        ({"ownerReferences": owned("Prometheus", "main")}, "Prometheus shop/main"),
        ({}, ""),
    ],
)
def test_a_patch_names_what_would_undo_it(metadata: Json, owner: str) -> None:
    steps = only(controller("StatefulSet", {"containers": [container()]}, **metadata)).steps
    assert {step.owner for step in steps if isinstance(step, Patch)} == {owner}


def test_nothing_that_an_operator_owns_is_created_again() -> None:
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "pg-1"}}
    metadata = {"ownerReferences": owned("Cluster", "pg")}
    of_operator = pod("pg-1", "shop", "10.42.1.5", container(), metadata=metadata, volumes=[claim])
    found = repairs(of_operator)
    assert set(found) == {"shop/Cluster/pg"}
    assert "again from" not in str(found)
    (question,) = (step for step in found["shop/Cluster/pg"].steps if isinstance(step, Decide))
    assert question.question == "Does Cluster shop/pg have settings for these fields of its pods?"


def test_a_pod_with_a_claim_only_gets_another_level() -> None:
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "pg-1"}}
    repair = only(pod("db", "shop", "10.42.1.5", container(), volumes=[claim]))
    assert {type(step) for step in repair.steps} == {Set}


def test_a_workload_that_needs_another_label_does_not_lower_the_stage_of_all() -> None:
    on_host = controller("DaemonSet", {"containers": [container()], "hostNetwork": True})
    steps = repairs(on_host, pod("tool", "shop", "10.42.1.5", container()))["shop/Pod/tool"].steps
    assert steps[0] == Set("stages.pod-security", "baseline", Location(DEFAULT_SETTINGS))


def test_probes_of_another_host_are_a_question() -> None:
    probe: Json = {"livenessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": 1}}}
    repair = only(controller("Deployment", {"containers": [container(securityContext=STRICT, **probe)]}))
    (question,) = (step for step in repair.steps if isinstance(step, Decide))
    assert question.question.startswith("Does Deployment shop/web answer its probes")
    assert not any(isinstance(step, Patch) for step in repair.steps)


def test_the_rollout_of_a_deployment_is_completed() -> None:
    good = {"containers": [container(securityContext=STRICT)]}
    spec = {"replicas": 1, "template": {"spec": {"containers": [container()]}}}
    old = thing("ReplicaSet", "web-1", "shop", metadata={"ownerReferences": owned("Deployment", "web")}, spec=spec)
    found = repairs(controller("Deployment", good), old)
    assert Run("kubectl rollout status deployment/web --namespace shop") in found["shop/ReplicaSet/web-1"].steps


def test_the_label_admits_all_workloads_of_a_namespace_that_no_patch_corrects() -> None:
    as_root = {"containers": [container(securityContext={**STRICT, "runAsUser": 0})]}
    needs_root = thing("Deployment", "a", "shop", spec={"template": {"spec": as_root}})
    on_host = controller("DaemonSet", {"containers": [container(securityContext=STRICT)], "hostNetwork": True})
    alone = only(needs_root)
    assert shlex.split(str(alone.steps[0].line))[-1].endswith("=baseline")  # type: ignore[union-attr]
    for repair in repairs(needs_root, on_host).values():
        assert repair.steps[0].line.endswith("=privileged")  # type: ignore[union-attr]
        assert repair.alternative is not None
        exempt = Set("pod-security.exempt-namespaces", "[shop]", Location(DEFAULT_SETTINGS))
        assert repair.alternative.steps == (exempt,)


@pytest.mark.parametrize("kind", [kind for kind in CONTROLLERS.values() if kind != "Job"])
def test_the_command_of_a_patch_can_be_pasted(kind: str) -> None:
    spec: Json = {"containers": [container()], "initContainers": [{**container(), "name": "first"}]}
    spec["securityContext"] = {"runAsUser": 9}
    patches = [step for step in only(controller(kind, spec)).steps if isinstance(step, Patch)]
    (words,) = (shlex.split(command(patch)) for patch in patches)
    assert words[:-1] == ["kubectl", "patch", kind.lower(), "web", "--namespace", "shop", "--patch"]
    patch = json.loads(words[-1])["spec"]
    template = patch["jobTemplate"]["spec"]["template"] if kind == "CronJob" else patch["template"]
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert template["spec"] == {
        "initContainers": [{"name": "first", "securityContext": own}],
        "containers": [{"name": "main", "securityContext": own}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }


def test_a_patch_of_another_object_has_no_command() -> None:
    assert command(Patch("ClusterRoleBinding x", (("subjects", "null"),))) == ""
