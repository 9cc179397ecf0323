"""Objects of the Kubernetes API with the fields that controls need, without values of environment variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


Json = Any
"""What json.loads returns."""


class NamedObject(NamedTuple):
    """The name of an object. A row of a Table has no namespace."""

    namespace: str
    name: str
    type: str = ""
    """The type of a Secret."""


class Namespace(NamedTuple):
    """A namespace with its labels."""

    name: str
    labels: Mapping[str, str]
    uid: str = ""


class ServiceAccount(NamedTuple):
    """A ServiceAccount."""

    namespace: str
    name: str
    automounts: bool | None
    """The field automountServiceAccountToken; None if it is not set, which means true."""


class HostVolume(NamedTuple):
    """A PersistentVolume that is a directory of a node."""

    name: str
    claim: tuple[str, str]
    """The namespace and name of the claim that it is bound to."""
    path: str
    """Empty if it is of another kind."""


class Subject(NamedTuple):
    """An account that a binding names."""

    kind: str
    """User, Group or ServiceAccount."""
    namespace: str
    """Only of a ServiceAccount."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class RbacRule(NamedTuple):
    """A rule of a role: these verbs on these resources. It has no non-resource URLs."""

    verbs: frozenset[str]
    groups: frozenset[str]
    """API groups; "" is the core group."""
    resources: frozenset[str]
    names: frozenset[str]
    """The objects that the rule is limited to; empty for all."""

    def __str__(self) -> str:
        words = [" ".join(sorted(part)) for part in (self.verbs, self.resources, self.names)]
        return f"{words[0]} {words[1]}{f' {words[2]}' if words[2] else ''}"


class RbacRole(NamedTuple):
    """A Role, or a ClusterRole without a namespace."""

    namespace: str
    name: str
    rules: tuple[RbacRule, ...]
    urls: frozenset[str] = frozenset()
    """Non-resource URLs, such as /metrics."""

    def __str__(self) -> str:
        return f"Role {self.namespace}/{self.name}" if self.namespace else f"ClusterRole {self.name}"


class Binding(NamedTuple):
    """A RoleBinding, or a ClusterRoleBinding without a namespace."""

    namespace: str
    name: str
    role_kind: str
    role: str
    subjects: tuple[Subject, ...]

    def __str__(self) -> str:
        return f"RoleBinding {self.namespace}/{self.name}" if self.namespace else f"ClusterRoleBinding {self.name}"


class Container(NamedTuple):
    """A container of a pod."""

    name: str
    image: str
    own_context: Mapping[str, Json]
    """Its security context."""
    pod_context: Mapping[str, Json]
    """The security context of its pod, whose values are the defaults of its own."""
    secrets: frozenset[str]
    """Names of the Secrets that are in environment variables."""

    def context(self, key: str) -> Json:
        """Return the value in effect of a field that pods and containers have."""
        return self.own_context[key] if self.own_context.get(key) is not None else self.pod_context.get(key)


class Workload(NamedTuple):
    """A pod, or the pods that a controller such as a Deployment or CronJob creates."""

    kind: str
    """Pod, or the kind of the controller."""
    namespace: str
    name: str
    controller: str
    """Kind and name of the object that created it, such as "ReplicaSet web-5d4"; empty if there is none."""
    is_dormant: bool
    """Whether it creates no more pods: a finished Job, or a revision without replicas of another controller."""
    revision: str
    """Of the template: of a pod the one that it was created from; empty if it is not known."""
    account: str
    automounts: bool | None
    template: Mapping[str, Json]
    """The metadata and the spec, with the fields that decide on Pod Security."""
    containers: tuple[Container, ...]
    """With init and ephemeral containers."""
    projects_token: bool = False
    """Whether one of its volumes is a token of its account, whatever `automounts` says."""
    labels: Mapping[str, str] = {}
    """Those of the pods."""
    secrets: frozenset[str] = frozenset()
    """The Secrets that are volumes or in environment variables."""
    claims: frozenset[str] = frozenset()
    """The PersistentVolumeClaims that are volumes."""

    @property
    def content(self) -> object:
        """What decides on its pods, without the names and labels."""
        own = self.account, self.automounts, self.template, self.containers
        return (*own, self.projects_token, self.secrets, self.claims)

    @property
    def is_windows(self) -> bool:
        """Whether the pods are for Windows, which has neither capabilities nor seccomp."""
        os = self.template["spec"].get("os")
        return isinstance(os, dict) and os.get("name") == "windows"

    @property
    def title(self) -> str:
        """The object that a person edits: pods of one ReplicaSet have the same."""
        kind, _, name = self.controller.partition(" ")
        return f"{kind} {self.namespace}/{name}" if kind else self.own_title

    @property
    def own_title(self) -> str:
        """Its kind, namespace and name."""
        return f"{self.kind} {self.namespace}/{self.name}"


class ClusterNode(NamedTuple):
    """A node, with what K3s and k3s-harden write on its object."""

    name: str
    is_ready: bool
    uid: str = ""
    k3s_version: str = ""
    is_server: bool = False
    annotations: Mapping[str, str] = {}
    """K3s' arguments, and what k3s-harden published."""
    condition: Mapping[str, str] = {}
    """The fields of k3s-harden's condition."""
    written: str = ""
    """When the API server last stored what k3s-harden published."""
    cluster: str = ""
    """The name of its cluster; empty if only one is read."""
    unknown: str = ""
    """Why what it published does not count, such as an invalid signature."""
    verified: str = ""
    """A digest of the record and its signature, if that is valid."""
