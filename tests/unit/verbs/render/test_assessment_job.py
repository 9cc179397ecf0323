"""The manifests of `render assessment-job`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from agent.base.errors import UsageError
from agent.base.value import replace
from agent.k3s.roles_and_versions import NEWEST_KNOWN, Version
from agent.verbs.render.pods import IMAGE, AssessmentJob
from tests.unit.harden.guide.test_manifests import MINORS, complaints

ONE = AssessmentJob("node-1", "audit", IMAGE, 24)
ALL = replace(ONE, node="", every=0.5)


def objects(job: AssessmentJob, minor: int = NEWEST_KNOWN.minor) -> dict[str, Any]:
    return {found["kind"]: found for found in job.manifests(Version(1, minor, 0))}


def test_a_pod_that_writes_a_report_has_a_network() -> None:
    assert "NetworkPolicy" not in objects(replace(ONE, reports_to_api=True))


def mount(found: dict[str, Any]) -> dict[str, Any]:
    """Return the mount of the node without what is the same in all."""
    (container,) = found["spec"]["template"]["spec"]["containers"]
    of_node, _ = container["volumeMounts"]
    return {key: value for key, value in of_node.items() if key not in {"name", "mountPath", "readOnly"}}


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("job", [ONE, ALL, replace(ONE, reports_to_api=True), replace(ALL, reports_to_api=True)])
def test_they_are_valid_in_each_version(job: AssessmentJob, minor: int) -> None:
    """Kubernetes accepts unknown fields in none of them."""
    assert complaints(minor, yaml.safe_dump_all(job.manifests(Version(1, minor, 0))).encode()) == []


def test_a_pod_has_the_least_rights_that_reading_needs() -> None:
    template = objects(ONE)["Job"]["spec"]["template"]["spec"]
    (container,) = template.pop("containers")
    context = container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}
    assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
    assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (1879048192, 1879048192, True)
    assert "privileged" not in context
    assert objects(ONE)["NetworkPolicy"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert [(found["mountPath"], found["readOnly"]) for found in container["volumeMounts"]] == [
        ("/host", True),
        ("/host/dev", True),
    ]
    assert template.pop("volumes") == [
        {"name": "empty", "emptyDir": {}},
        {"name": "root", "hostPath": {"path": "/", "type": "Directory"}},
    ]
    del template["affinity"]
    assert template == {
        "restartPolicy": "Never",
        "serviceAccountName": "default",
        "shareProcessNamespace": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "tolerations": [{"operator": "Exists"}],
    }


@pytest.mark.parametrize(("job", "kind"), [(ONE, "Job"), (ALL, "DaemonSet")])
def test_mounts_below_the_root_are_read_only_from_1_30_on(job: AssessmentJob, kind: str) -> None:
    """Otherwise root in the pod could write /proc/sys of the node. Older API servers reject the field."""
    assert mount(objects(job, 29)[kind]) == {}
    assert mount(objects(job, 30)[kind]) == {"recursiveReadOnly": "IfPossible"}


@pytest.mark.parametrize(("job", "account"), [(ONE, "default"), (replace(ONE, reports_to_api=True), "assess")])
def test_pod_security_policies_admit_the_pod_up_to_1_24(job: AssessmentJob, account: str) -> None:
    """The account of the pod may use the policy of apply without limits."""
    binding = objects(job, 24)["RoleBinding"]
    assert binding["roleRef"]["name"] == "psp:system-unrestricted-psp"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "audit"}]
    assert "RoleBinding" not in objects(job, 25)


@pytest.mark.parametrize(("image", "policy"), [(IMAGE, "Never"), ("registry.example/k3s-harden:1.0.0", "IfNotPresent")])
def test_only_an_image_of_a_registry_is_pulled(image: str, policy: str) -> None:
    """The own name belongs to no registry."""
    (container,) = objects(replace(ONE, image=image))["Job"]["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == (image, policy)


@pytest.mark.parametrize("node", ["1234", "a" * 63, f"{'a' * 56}.example", "worker-1.example.org"])
def test_the_name_of_a_job_is_valid_for_each_node(node: str) -> None:
    """It is also the value of a label, which has at most 63 characters and ends with a letter or digit."""
    name = objects(replace(ONE, node=node))["Job"]["metadata"]["name"]
    assert (name[:11], len(name) <= 63) == (f"assess-{node}"[:11], True)
    assert name[-1].isalnum()
    assert objects(replace(ONE, node=f"{node[:62]}2"))["Job"]["metadata"]["name"] != name


@pytest.mark.parametrize(
    "job",
    [replace(ONE, namespace=name) for name in ("default", "kube-system", "a.b", "A", "", "a" * 64)]
    + [replace(ONE, node=name) for name in ("Node", "a_b", "-a", "a\nb")],
)
def test_names_that_delete_too_much_or_are_invalid_are_refused(job: AssessmentJob) -> None:
    """`kubectl delete` of the output removes the namespace."""
    with pytest.raises(UsageError, match="cannot use the"):
        objects(job)
