"""Objects of Kubernetes, reduced to what rules need, and their parsers, which accept any JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
    owner: str
    """What would undo a change of it, such as "Helm release shop/web"; empty if nothing is known."""
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


_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_POD_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "os", "runtimeClassName", "securityContext")
_ANNOTATIONS = ("apparmor.security.beta.kubernetes.io", "seccomp.security.alpha.kubernetes.io")
_REVISION_LABELS = {"DaemonSet": "pod-template-generation", "StatefulSet": "controller-revision-hash"}
"""The label of a pod with the revision of its controller's template, by the kind of the controller."""

_OBJECT_SET = "objectset.rio.cattle.io/owner"

_SERVICE_ACCOUNT = "system:serviceaccount:"
"""The prefix of the user name of a ServiceAccount, before its namespace and name."""


def as_mapping(value: Json) -> Mapping[str, Json]:
    """Return a JSON object; empty for any other value."""
    return value if isinstance(value, dict) else {}


def at(item: Json, *keys: str) -> Mapping[str, Json]:
    """Return the JSON object at a path of keys; empty if there is none."""
    for key in keys:
        item = as_mapping(item).get(key)
    return as_mapping(item)


def as_list(value: Json) -> list[Json]:
    """Return a JSON array; empty for any other value."""
    return value if isinstance(value, list) else []


def as_string(value: Json) -> str:
    """Return a JSON string; empty for any other value."""
    return value if isinstance(value, str) else ""


def _texts(value: Json) -> frozenset[str]:
    return frozenset(filter(None, map(as_string, as_list(value))))


def string_values(value: Json) -> dict[str, str]:
    """Return the strings of a JSON object by their keys."""
    return {key: text for key, text in as_mapping(value).items() if isinstance(text, str)}


def rule_texts(value: Json) -> frozenset[str]:
    """Return the texts of a list in a rule."""
    # The core API group is "".
    return frozenset(item for item in as_list(value) if isinstance(item, str))


def _flag(value: Json) -> bool | None:
    return value if isinstance(value, bool) else None


def identity(item: Json) -> tuple[str, str]:
    """Return the namespace and name of an object."""
    metadata = at(item, "metadata")
    return as_string(metadata.get("namespace")), as_string(metadata.get("name"))


def named_object(item: Json) -> NamedObject:
    """Return the name of any object."""
    return NamedObject(*identity(item))


def namespace(item: Json) -> Namespace:
    """Return a namespace."""
    labels = {key: as_string(value) for key, value in at(item, "metadata", "labels").items()}
    return Namespace(identity(item)[1], labels, as_string(at(item, "metadata").get("uid")))


def host_volume(item: Json) -> HostVolume:
    """Return a PersistentVolume, with its path if it is a directory of a node."""
    spec = at(item, "spec")
    path = at(spec, "hostPath").get("path") or at(spec, "local").get("path")
    claim = at(spec, "claimRef")
    named = as_string(claim.get("namespace")), as_string(claim.get("name"))
    return HostVolume(identity(item)[1], named, as_string(path))


def service_account(item: Json) -> ServiceAccount:
    """Return a ServiceAccount."""
    return ServiceAccount(*identity(item), _flag(as_mapping(item).get("automountServiceAccountToken")))


def role(item: Json) -> RbacRole:
    """Return a Role or ClusterRole."""
    rules = [as_mapping(rule) for rule in as_list(as_mapping(item).get("rules"))]
    return RbacRole(
        *identity(item),
        tuple(
            RbacRule(
                _texts(rule.get("verbs")),
                rule_texts(rule.get("apiGroups")),
                _texts(rule.get("resources")),
                _texts(rule.get("resourceNames")),
            )
            for rule in rules
        ),
        frozenset(url for rule in rules for url in _texts(rule.get("nonResourceURLs"))),
    )


def binding(item: Json) -> Binding:
    """Return a RoleBinding or ClusterRoleBinding."""
    reference = at(item, "roleRef")
    own, _ = identity(item)
    subjects = (as_mapping(subject) for subject in as_list(as_mapping(item).get("subjects")))
    return Binding(
        *identity(item),
        as_string(reference.get("kind")),
        as_string(reference.get("name")),
        tuple(_subject(subject, own) for subject in subjects),
    )


def _subject(item: Mapping[str, Json], namespace: str) -> Subject:
    """Return a subject of a binding in a namespace. A ServiceAccount can also be named by its user name."""
    kind, name = as_string(item.get("kind")), as_string(item.get("name"))
    user, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if kind == "User" and name.startswith(_SERVICE_ACCOUNT) and account:
        return Subject("ServiceAccount", user, account)
    own = as_string(item.get("namespace")) or namespace
    return Subject(kind, own if kind == "ServiceAccount" else "", name)


def pod(item: Json) -> Workload:
    """Return a pod."""
    kind = controller_of(item).partition(" ")[0]
    revision = as_string(at(item, "metadata", "labels").get(_REVISION_LABELS.get(kind, "")))
    return _workload("Pod", item, item, is_dormant=has_ended("Pod", item) and not kind, revision=revision)


def controller(kind: str, item: Json) -> Workload:
    """Return the pods that an object of this kind creates from its template."""
    spec, status = at(item, "spec"), at(item, "status")
    # A Deployment keeps its earlier revisions as ReplicaSets without replicas.
    is_revision = kind == "ReplicaSet" and spec.get("replicas") == 0 and bool(controller_of(item))
    revisions = {
        "DaemonSet": at(item, "metadata", "annotations").get("deprecated.daemonset.template.generation"),
        "StatefulSet": status.get("updateRevision"),
    }
    is_dormant, revision = is_revision or has_ended(kind, item), as_string(revisions.get(kind))
    return _workload(kind, item, template_of(kind, item), is_dormant=is_dormant, revision=revision)


def template_of(kind: str, item: Json) -> Mapping[str, Json]:
    """Return the template from which an object of this kind creates pods."""
    return at(item, "spec", *(("jobTemplate", "spec") if kind == "CronJob" else ()), "template")


def has_ended(kind: str, item: Json) -> bool:
    """Return whether an object is a pod or Job that has ended."""
    status = at(item, "status")
    if kind == "Pod":
        return status.get("phase") in ("Succeeded", "Failed")
    conditions = map(as_mapping, as_list(status.get("conditions")))
    return kind == "Job" and any(
        condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        for condition in conditions
    )


def controller_of(item: Json) -> str:
    """Return the kind and name of the object that created this one; empty if there is none.

    The node that owns the mirror of a static pod is not one that a person edits.
    """
    owners = map(as_mapping, as_list(at(item, "metadata").get("ownerReferences")))
    owner = next((owner for owner in owners if owner.get("controller") is True and owner.get("kind") != "Node"), {})
    return f"{as_string(owner.get('kind'))} {as_string(owner.get('name'))}" if owner else ""


def owner_of(item: Json) -> str:
    """Return what would undo a change of an object; empty if nothing is known."""
    labels, annotations = (string_values(at(item, "metadata").get(key)) for key in ("labels", "annotations"))
    argo = annotations.get("argocd.argoproj.io/tracking-id", "").partition(":")[0]
    argo = argo or labels.get("argocd.argoproj.io/instance", "")
    if argo:
        return f"Argo CD Application {argo}"
    rows = (
        ("Flux HelmRelease", labels, "helm.toolkit.fluxcd.io/namespace", "helm.toolkit.fluxcd.io/name"),
        ("Flux Kustomization", labels, "kustomize.toolkit.fluxcd.io/namespace", "kustomize.toolkit.fluxcd.io/name"),
        ("Helm release", annotations, "meta.helm.sh/release-namespace", "meta.helm.sh/release-name"),
        ("K3s Addon", annotations, f"{_OBJECT_SET}-namespace", f"{_OBJECT_SET}-name"),
    )
    found = (f"{kind} {keys.get(space, '')}/{keys[name]}" for kind, keys, space, name in rows if name in keys)
    return next(found, "")


def _workload(kind: str, item: Json, template: Json, *, is_dormant: bool, revision: str) -> Workload:
    own, name = identity(item)
    spec = at(template, "spec")
    volumes = [*map(as_mapping, as_list(spec.get("volumes")))]
    sources = [as_mapping(source) for volume in volumes for source in as_list(at(volume, "projected").get("sources"))]
    mounted = [*(at(volume, "secret").get("secretName") for volume in volumes)]
    mounted += (at(source, "secret").get("name") for source in sources)
    containers = tuple(_containers(spec))
    return Workload(
        kind=kind,
        namespace=own,
        name=name,
        controller=controller_of(item),
        is_dormant=is_dormant,
        revision=revision,
        account=as_string(spec.get("serviceAccountName")) or "default",
        automounts=_flag(spec.get("automountServiceAccountToken")),
        owner=owner_of(item),
        template=_security_fields(template),
        labels=at(template, "metadata", "labels"),
        projects_token=any("serviceAccountToken" in source for source in sources),
        containers=containers,
        secrets=_texts(mounted).union(*(container.secrets for container in containers)),
        claims=_texts([at(volume, "persistentVolumeClaim").get("claimName") for volume in volumes]),
    )


def _containers(spec: Mapping[str, Json]) -> Iterator[Container]:
    for kind in _CONTAINERS:
        for container in map(as_mapping, as_list(spec.get(kind))):
            yield Container(
                name=as_string(container.get("name")),
                image=as_string(container.get("image")),
                own_context=as_mapping(container.get("securityContext")),
                pod_context=as_mapping(spec.get("securityContext")),
                secrets=frozenset(_secrets_in_environment(container)),
            )


def _security_fields(template: Json) -> Mapping[str, Json]:
    """Return a pod or template with what Pod Security reads: annotations, volumes and probes can be large.

    Projected volumes are left out. Each standard allows them, and that of a token has another name in each pod.
    """
    annotations, spec = at(template, "metadata", "annotations"), at(template, "spec")
    kept = {key: value for key, value in annotations.items() if key.partition("/")[0].endswith(_ANNOTATIONS)}
    fields = {key: spec[key] for key in _POD_FIELDS if key in spec}
    for kind in _CONTAINERS:
        fields[kind] = [_container_fields(as_mapping(item)) for item in as_list(spec.get(kind))]
    fields["volumes"] = [
        {key: value if key in ("name", "hostPath") else {} for key, value in volume.items() if value is not None}
        for volume in map(as_mapping, as_list(spec.get("volumes")))
        if volume.get("projected") is None
    ]
    return {"metadata": {"annotations": kept}, "spec": fields}


def _container_fields(item: Mapping[str, Json]) -> Mapping[str, Json]:
    ports = [as_mapping(port).get("hostPort") for port in as_list(item.get("ports"))]
    hooks = at(item, "lifecycle")
    return {
        "name": as_string(item.get("name")),
        "securityContext": at(item, "securityContext"),
        "ports": [{"hostPort": port} for port in ports if isinstance(port, int) and port],
        "lifecycle": {key: _hosts(hooks, key) for key in ("postStart", "preStop") if key in hooks},
        **{key: _hosts(item, key) for key in ("livenessProbe", "readinessProbe", "startupProbe") if key in item},
    }


def _hosts(item: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    handlers = {kind: at(item, key, kind).get("host") for kind in ("httpGet", "tcpSocket")}
    return {kind: {"host": host} for kind, host in handlers.items() if host}


def _secrets_in_environment(item: Mapping[str, Json]) -> Iterator[str]:
    references = [at(variable, "valueFrom", "secretKeyRef") for variable in as_list(item.get("env"))]
    references += [at(variable, "secretRef") for variable in as_list(item.get("envFrom"))]
    yield from (as_string(reference.get("name")) for reference in references if reference)


def named_row(cells: Json, columns: Mapping[str, int]) -> NamedObject:
    """Return a row of a Table: the columns Name and Type."""
    texts = [as_string(cell) for cell in as_list(cells)]
    name, kind = (texts[at] if at is not None and at < len(texts) else "" for at in map(columns.get, ("Name", "Type")))
    return NamedObject("", name, kind)


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects an object with these labels; an empty or missing one selects all.

    (apimachinery, pkg/apis/meta/v1/helpers.go)
    """
    wanted = at(selector, "matchLabels")
    expressions = map(as_mapping, as_list(as_mapping(selector).get("matchExpressions")))
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(expression, labels) for expression in expressions
    )


def _meets(expression: Mapping[str, Json], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(as_string(expression.get("key"))), as_list(expression.get("values"))
    return {
        "In": value is not None and value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(as_string(expression.get("operator")), False)
