"""Manifests of pods with the image of this program: a Job or DaemonSet that assesses, and an upgrade plan."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from agent import __version__
from agent.base import package_data
from agent.base.errors import UsageError
from agent.base.repair import Run
from agent.base.value import Value
from agent.k3s.roles_and_versions import Version

IMAGE = f"k3s-harden.internal/k3s-harden:{__version__}"
"""The domain .internal is reserved for private use, so no registry has it: a node has the image, or the pod fails."""


_FIRST_WITHOUT_POLICIES = 25
"""The first minor version without PodSecurityPolicies."""
_RECURSIVE_READ_ONLY = 30
"""The first minor version whose API server accepts `recursiveReadOnly`."""
_NAMESPACE = re.compile(r"(?!kube-|default$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""`kubectl delete` of the output removes the namespace, so it cannot be one of Kubernetes itself."""
_NODE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LONGEST_LABEL = 63
_API_ACCESS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")


class AssessmentJob(Value):
    """How nodes are assessed in pods."""

    node: str
    """The name of a Node; empty for a DaemonSet on all of them."""
    namespace: str
    image: str
    every: float
    """Hours between the assessments of a DaemonSet."""
    arguments: tuple[str, ...] = ()
    """Further options of `assess`."""
    reports_to_api: bool = False

    def manifests(self, version: Version) -> list[dict[str, Any]]:
        """Return the namespace and what is in it, for this version of the cluster.

        Raises UsageError for names that Kubernetes rejects.
        """
        import yaml

        if not _NAMESPACE.fullmatch(self.namespace):
            raise UsageError(
                f"cannot use the namespace {self.namespace}: the output creates it, and `kubectl delete` removes it",
                "pass a valid name of a new namespace",
            )
        if self.node and not _NODE.fullmatch(self.node):
            raise UsageError(f"cannot use the node {self.node}: no Node can have this name", Run("kubectl get nodes"))
        text = package_data.read("verbs", "render", "assessment_job.yaml").decode()
        text = text.replace("NAMESPACE", self.namespace).replace("NODE_NAME", self.node)
        text = text.replace("ACCOUNT", "assess" if self.reports_to_api else "default")
        objects = {found["kind"]: found for found in yaml.safe_load(text)}
        omitted = {"DaemonSet" if self.node else "Job", *(("NetworkPolicy",) if self.reports_to_api else _API_ACCESS)}
        if version.minor >= _FIRST_WITHOUT_POLICIES:
            omitted.add("RoleBinding")
        self._complete(objects["Job" if self.node else "DaemonSet"], version)
        return [found for kind, found in objects.items() if kind not in omitted]

    def _complete(self, workload: dict[str, Any], version: Version) -> None:
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        mount, _ = container["volumeMounts"]
        # Only a reference of the user's own can be pulled.
        container.update(image=self.image, imagePullPolicy="Never" if self.image == IMAGE else "IfNotPresent")
        pod["automountServiceAccountToken"] = self.reports_to_api
        if version.minor >= _RECURSIVE_READ_ONLY:
            mount["recursiveReadOnly"] = "IfPossible"
        if self.node:
            # The name is also the value of a label. A shortened one ends in a digest of the Node's name.
            name = workload["metadata"]["name"]
            if len(name) > _LONGEST_LABEL:
                name = f"{name[: _LONGEST_LABEL - 9].rstrip('-.')}-{sha256(self.node.encode()).hexdigest()[:8]}"
            workload["metadata"]["name"] = name
        else:
            del pod["affinity"], pod["restartPolicy"]  # both are of the Job, whose pod the template shares
            container["args"].append(f"--every={self.every:g}")
        container["args"] += [*(("--report-to-api",) if self.reports_to_api else ()), *self.arguments]


_NAME = r"[a-z0-9][\w./:-]*"
_PLAN = """\
# With this Plan, the system-upgrade-controller brings k3s-harden {version} to all nodes, one after the other.
# For an image that was imported to the nodes, its ConfigMap default-controller-env must have
# SYSTEM_UPGRADE_JOB_IMAGE_PULL_POLICY=IfNotPresent instead of Always. A Plan cannot set this.
apiVersion: upgrade.cattle.io/v1
kind: Plan
metadata:
  name: k3s-harden
  namespace: system-upgrade
  annotations:
    # Without it, the controller ignores a change of the arguments.
    upgrade.cattle.io/digest: spec.upgrade.args,spec.upgrade.envs
spec:
  concurrency: 1
  exclusive: true
  jobActiveDeadlineSecs: 900
  serviceAccountName: system-upgrade
  nodeSelector:
    matchExpressions:
      - {{key: kubernetes.io/os, operator: In, values: [linux]}}
  tolerations:
    - operator: Exists
  # The controller appends the version as tag to an image that has neither a tag nor a digest.
  version: "{label}"
  upgrade:
    image: "{image}"
    args: [upgrade-node]
"""


def upgrade_plan(image: str) -> bytes:
    """Return the Plan for an image. Raises UsageError for a reference whose tag cannot be that of a label, too."""
    if pinned := re.fullmatch(rf"{_NAME}@sha256:([0-9a-f]{{64}})", image, re.ASCII):
        reference, label = image, f"sha256-{pinned[1][:12]}"
    elif tagged := re.fullmatch(rf"({_NAME}):(\w(?:[\w.-]{{0,61}}\w)?)", image, re.ASCII):
        reference, label = tagged[1], tagged[2]
    else:
        expected = "expected NAME@sha256:DIGEST, or NAME:TAG with a tag of at most 63 characters"
        raise UsageError(
            f"cannot use --image: found {image}, {expected}",
            "pass a reference such as registry.example/k3s-harden:1.0.0",
        )
    return _PLAN.format(version=__version__, image=reference, label=label).encode()
