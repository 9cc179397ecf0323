"""`render upgrade-plan` on a real API server: the Plan, and the Job that the controller creates from it."""

from __future__ import annotations

import json
from string import Template
from typing import Any

import pytest
import yaml

from tests.k8s.namespaces import NAME
from tests.k8s.node import Node
from tests.machine import CHECKOUT

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

FILES = CHECKOUT / "tests/data/system-upgrade-controller"
# As in the manifests/system-upgrade-controller.yaml of the controller.
NAMESPACE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "system-upgrade", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
}
ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "system-upgrade", "namespace": "system-upgrade"},
}


@pytest.fixture(scope="module")
def plan(server: Node) -> dict[str, Any]:
    server.apply(NAMESPACE, ACCOUNT)
    server.kubectl("apply", "--filename=-", text=(FILES / "plan.yaml").read_text(encoding="utf-8"))
    server.kubectl("wait", "--for=condition=Established", "crd/plans.upgrade.cattle.io")
    rendered = server.harden("render", "upgrade-plan").stdout
    server.kubectl("apply", "--validate=strict", "--filename=-", text=rendered)
    found: dict[str, Any] = server.get("plan", "k3s-harden", "--namespace=system-upgrade")
    assert found["spec"] == yaml.safe_load(rendered)["spec"]
    return found


def job_of(plan: dict[str, Any]) -> dict[str, Any]:
    spec, image = plan["spec"], plan["spec"]["upgrade"]["image"]
    # WithLatestTag: a reference that has only a name gets the version as its tag.
    has_only_name = "@" not in image and ":" not in image.rpartition("/")[2]
    (toleration,) = spec["tolerations"]
    text = Template((FILES / "job.yaml").read_text(encoding="utf-8")).substitute(
        plan=plan["metadata"]["name"],
        namespace=plan["metadata"]["namespace"],
        node=NAME,
        exclusive=str(spec["exclusive"]).lower(),
        version=spec["version"],
        deadline=spec["jobActiveDeadlineSecs"],
        account=spec["serviceAccountName"],
        toleration=json.dumps(toleration),
        image=f"{image}:{spec['version']}" if has_only_name else image,
        args=json.dumps(spec["upgrade"]["args"]),
    )
    made: dict[str, Any] = yaml.safe_load(text)
    return made


def dry_run(server: Node, document: dict[str, Any]) -> str:
    done = server.try_kubectl(
        "create", "--dry-run=server", "--validate=strict", "--filename=-", text=yaml.safe_dump(document)
    )
    return done.stdout + done.stderr


def test_the_plan_selects_each_node_and_one_at_a_time(server: Node, plan: dict[str, Any]) -> None:
    """Its selector is that of labels that the kubelet sets on every node."""
    (expression,) = plan["spec"]["nodeSelector"]["matchExpressions"]
    selector = f"{expression['key']} in ({','.join(expression['values'])})"
    assert [node["metadata"]["name"] for node in server.get("nodes", f"--selector={selector}")["items"]] == [NAME]
    assert (plan["spec"]["concurrency"], plan["spec"]["exclusive"]) == (1, True)


def test_the_job_and_its_pod_are_admitted_in_the_namespace_of_the_controller(
    server: Node, plan: dict[str, Any]
) -> None:
    """Elsewhere Pod Security rejects the pod, which is privileged."""
    job = job_of(plan)
    assert "created (server dry run)" in dry_run(server, job)
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": job["spec"]["template"]["spec"]}
    pod["metadata"] = {"name": "upgrade", "namespace": "system-upgrade"}
    assert "created (server dry run)" in dry_run(server, pod)
    pod["metadata"]["namespace"] = "default"
    del pod["spec"]["serviceAccountName"]
    assert "violates PodSecurity" in dry_run(server, pod)


@pytest.mark.usefixtures("plan")
def test_the_job_of_an_image_with_a_digest_is_admitted(server: Node) -> None:
    """Its label is short enough, and the image has the digest and no tag of the controller."""
    reference = f"registry.example:5000/k3s-harden@sha256:{'0123456789abcdef' * 4}"
    rendered = yaml.safe_load(server.harden("render", "upgrade-plan", "--image", reference).stdout)
    assert "created (server dry run)" in dry_run(
        server, {**rendered, "metadata": {**rendered["metadata"], "name": "other"}}
    )
    job = job_of(rendered)
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == reference
    assert "created (server dry run)" in dry_run(server, job)
