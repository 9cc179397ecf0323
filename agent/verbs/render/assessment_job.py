"""Manifests that assess nodes with `kubectl apply`, without installing anything on them. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agent.base import package_data
from agent.base.errors import UsageError
from agent.base.value import Value
from agent.verbs.render.image import IMAGE

if TYPE_CHECKING:
    from agent.k3s.roles_and_versions import Version

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
            raise UsageError(f"cannot use the node {self.node}: no Node can have this name", "see kubectl get nodes")
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
