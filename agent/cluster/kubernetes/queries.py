"""Queries to the API server that the controls need, and their answers, such as workloads. None changes the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any, NamedTuple

from agent.base.model import StrEnum
from agent.cluster.kubernetes.objects import Json, Subject, Workload

OBJECTS = "application/json"
"""Accept header: complete objects."""

METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Accept header: names, labels and annotations of objects."""

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
"""Accept header: the columns that `kubectl get` prints."""

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_APPS = "/apis/apps/v1"
_BATCH = "/apis/batch/v1"
_NETWORKING = "/apis/networking.k8s.io/v1"
_DEFAULT = "/api/v1/namespaces/default"


class ApiRequest(NamedTuple):
    """How a query is sent."""

    path: str
    accept: str = OBJECTS
    parameters: str = ""
    """Of the URL, in addition to those of paging."""
    may_be_missing: bool = False
    """Whether an API server that does not have the resource answers as if there were no objects."""


class Query(StrEnum):
    """A list of objects, by its name in the reference, with its request. They are sent in this order."""

    request: ApiRequest

    def __new__(cls, name: str, request: ApiRequest) -> Query:
        """Return the member whose value is the name."""
        member = str.__new__(cls, name)
        member._value_, member.request = name, request
        return member

    NAMESPACES = "namespaces", ApiRequest("/api/v1/namespaces", METADATA)
    PODS = "pods", ApiRequest("/api/v1/pods")
    DEPLOYMENTS = "deployments", ApiRequest(f"{_APPS}/deployments")
    DAEMON_SETS = "daemonsets", ApiRequest(f"{_APPS}/daemonsets")
    STATEFUL_SETS = "statefulsets", ApiRequest(f"{_APPS}/statefulsets")
    REPLICA_SETS = "replicasets", ApiRequest(f"{_APPS}/replicasets")
    REPLICATION_CONTROLLERS = "replicationcontrollers", ApiRequest("/api/v1/replicationcontrollers")
    JOBS = "jobs", ApiRequest(f"{_BATCH}/jobs")
    CRON_JOBS = "cronjobs", ApiRequest(f"{_BATCH}/cronjobs")
    SERVICE_ACCOUNTS = "serviceaccounts", ApiRequest("/api/v1/serviceaccounts")
    ROLES = "roles", ApiRequest(f"{_RBAC}/roles")
    CLUSTER_ROLES = "clusterroles", ApiRequest(f"{_RBAC}/clusterroles")
    ROLE_BINDINGS = "rolebindings", ApiRequest(f"{_RBAC}/rolebindings")
    CLUSTER_ROLE_BINDINGS = "clusterrolebindings", ApiRequest(f"{_RBAC}/clusterrolebindings")
    NETWORK_POLICIES = "networkpolicies", ApiRequest(f"{_NETWORKING}/networkpolicies")
    # Not METADATA: the annotation of `kubectl apply` repeats the content of a Secret. These columns never have it.
    SECRETS = "secrets", ApiRequest("/api/v1/secrets", TABLE, "includeObject=None")
    VALIDATING_WEBHOOKS = "validatingwebhookconfigurations", ApiRequest(f"{_ADMISSION}/validatingwebhookconfigurations")
    MUTATING_WEBHOOKS = "mutatingwebhookconfigurations", ApiRequest(f"{_ADMISSION}/mutatingwebhookconfigurations")
    ADMISSION_POLICIES = (
        "validatingadmissionpolicies",
        ApiRequest(f"{_ADMISSION}/validatingadmissionpolicies", may_be_missing=True),
    )
    ADMISSION_POLICY_BINDINGS = (
        "validatingadmissionpolicybindings",
        ApiRequest(f"{_ADMISSION}/validatingadmissionpolicybindings", may_be_missing=True),
    )
    NODES = "nodes", ApiRequest("/api/v1/nodes")
    # Their metadata has no token: Kubernetes writes that into the data.
    TOKEN_SECRETS = (
        "secrets of type service-account-token",
        ApiRequest("/api/v1/secrets", METADATA, "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"),
    )
    PERSISTENT_VOLUMES = "persistentvolumes", ApiRequest("/api/v1/persistentvolumes")
    DEFAULT_SERVICES = "services in default", ApiRequest(f"{_DEFAULT}/services", METADATA)
    DEFAULT_CONFIG_MAPS = "configmaps in default", ApiRequest(f"{_DEFAULT}/configmaps", METADATA)
    DEFAULT_SECRETS = "secrets in default", ApiRequest(f"{_DEFAULT}/secrets", TABLE, "includeObject=None")
    DEFAULT_CLAIMS = "persistentvolumeclaims in default", ApiRequest(f"{_DEFAULT}/persistentvolumeclaims", METADATA)
    DEFAULT_INGRESSES = ("ingresses in default", ApiRequest(f"{_NETWORKING}/namespaces/default/ingresses", METADATA))
    ACCESS_REVIEWS = "subjectaccessreviews", ApiRequest("/apis/authorization.k8s.io/v1/subjectaccessreviews")
    """What is asked about access, with POST: the API server stores nothing."""


REQUESTS: Mapping[Query, ApiRequest] = {query: query.request for query in Query if query is not Query.ACCESS_REVIEWS}
"""The request of each list."""

REFERRERS = {
    "Ingress": f"{_NETWORKING}/ingresses",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/httproutes",
    "IngressRoute": "/apis/traefik.io/v1alpha1/ingressroutes",
    "IngressRouteTCP": "/apis/traefik.io/v1alpha1/ingressroutetcps",
    "ValidatingWebhookConfiguration": f"{_ADMISSION}/validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": f"{_ADMISSION}/mutatingwebhookconfigurations",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
}
"""The path of each kind of object that names Services. The cluster need not have it."""
REPOSITORIES = {
    "Application": "/apis/argoproj.io/v1alpha1/applications",
    "GitRepository": "/apis/source.toolkit.fluxcd.io/v1/gitrepositories",
    "HelmRepository": "/apis/source.toolkit.fluxcd.io/v1/helmrepositories",
}
"""The path of each kind of object that names repositories, which a controller of Argo CD or Flux reads."""
MONITORS = {kind: f"/apis/monitoring.coreos.com/v1/{kind.lower()}s" for kind in ("ServiceMonitor", "PodMonitor")}

FLAGS = ApiRequest("/flagz", "application/json;v=v1alpha1;g=config.k8s.io;as=Flagz")
"""The effective flags of a component, from Kubernetes 1.36 on."""

CONFIGURATION = ApiRequest("/configz")
"""The effective configuration of a kubelet, without its argument seccomp-default (cmd/kubelet/app/options)."""


def of_kubelet(node: str, request: ApiRequest) -> ApiRequest:
    """Return a request to a node's kubelet, which the API server passes on."""
    return request._replace(path=f"/api/v1/nodes/{node}/proxy{request.path}")


PROBES = "probes"
"""The name of the problem that not all probes have an answer."""


class Probe(NamedTuple):
    """The answers of the API server to dry runs of pods that break one rule, by those who create pods."""

    rejected_by: str
    """What rejects each of them, but for that of an administrator; empty if another one is admitted."""
    admitted: str = ""
    """Which ones are admitted, such as "in an init container"; empty if all are, or none is."""


class Cluster(NamedTuple):
    """The objects and configurations that the API server returned."""

    server: str
    """Its URL."""
    objects: Mapping[Query, tuple[Any, ...]]
    """The objects of each query that has an answer; it is complete unless the query is in `gaps`."""
    problems: Mapping[str, str]
    """Why a query or a component has no answer, by its name."""
    flags: Mapping[str, str] | None = None
    """The effective flags of the API server; None if it does not return them."""
    kubelets: Mapping[str, Json] = {}
    """The effective configuration of each kubelet, by the name of its node; without seccompDefault if it is unknown."""
    reviews: Mapping[AccessReview, bool] = {}
    """What the API server answered about access."""
    probes: Mapping[tuple[str, str], Probe] = {}
    """By namespace and control."""
    problem: str = ""
    """Why the API server could not be queried at all."""
    registry: str = ""
    """K3s' option system-default-registry on the host whose API server answered."""
    policies: Mapping[str, str] | None = None
    """The digest of the files with policies that each plugin of the API server has loaded; None if it was not read."""
    gaps: Mapping[Query, str] = {}
    """The objects of a query that are too large to be read."""


_AUTHENTICATED, _ACCOUNTS = "system:authenticated", "system:serviceaccounts"
_UNBOUND = "k3s-harden-unbound"


class ReviewedAccount(NamedTuple):
    """An account with its groups: the API server does not add any to those of a review."""

    user: str
    groups: tuple[str, ...]

    def __str__(self) -> str:
        return f"user {self.user} with {', '.join(self.groups)}" if self.user else f"group {', '.join(self.groups)}"

    def includes(self, subject: Subject) -> bool:
        """Return whether a binding of the subject is one of this account."""
        if subject.kind == "Group":
            return subject.name in self.groups
        is_account = subject.kind == "ServiceAccount"
        return self.user == (_user(subject.namespace, subject.name) if is_account else subject.name)


class AccessReview(NamedTuple):
    """A question: may this account do that? Without a namespace it is about all of them."""

    account: ReviewedAccount
    verb: str
    group: str
    resource: str
    """With its subresource, such as nodes/proxy."""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}{where}"

    @property
    def command(self) -> str:
        """The command that asks the same; it ends with 1 if the answer is no."""
        resource, _, subresource = self.resource.partition("/")
        about = f"{resource}{f'.{self.group}' if self.group else ''}{f'/{self.name}' if self.name else ''}"
        words = [self.verb, about, f"--as={self.account.user or _UNBOUND}"]
        words += [f"--as-group={group}" for group in self.account.groups]
        words += [f"--subresource={subresource}"] if subresource else []
        words += [f"--namespace={self.namespace}" if self.namespace else "--all-namespaces"]
        return f"sudo k3s kubectl auth can-i {' '.join(map(quote, words))}"

    @property
    def body(self) -> dict[str, Any]:
        """The object to create."""
        resource, _, subresource = self.resource.partition("/")
        attributes = {
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self.account.user, "groups": self.account.groups, "resourceAttributes": attributes},
        }


def _user(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def account_of(subject: Subject) -> ReviewedAccount:
    """Return an account that has no rights but those of this subject of a binding and of its groups."""
    if subject.kind == "ServiceAccount":
        groups = (_ACCOUNTS, f"{_ACCOUNTS}:{subject.namespace}", _AUTHENTICATED)
        return ReviewedAccount(_user(subject.namespace, subject.name), groups)
    if subject.kind == "User":
        is_anonymous = subject.name == ANONYMOUS.user
        return ANONYMOUS if is_anonymous else ReviewedAccount(subject.name, (_AUTHENTICATED,))
    return next((known for known in EVERYBODY if known.groups[0] == subject.name), ReviewedAccount("", (subject.name,)))


ANONYMOUS = ReviewedAccount("system:anonymous", ("system:unauthenticated",))
EVERYBODY = (
    ReviewedAccount(_UNBOUND, (_AUTHENTICATED,)),
    ReviewedAccount(f"system:serviceaccount:default:{_UNBOUND}", (_ACCOUNTS, f"{_ACCOUNTS}:default", _AUTHENTICATED)),
    ANONYMOUS,
)
"""Accounts to which no binding can be meant: what one of them may do, each user, each pod or everybody may do."""
ALL_OF_THEM = ReviewedAccount(ANONYMOUS.user, tuple(dict.fromkeys(group for one in EVERYBODY for group in one.groups)))
"""Where only roles decide, it may do what one of EVERYBODY may: roles only add rights."""


CONTROLLERS = {
    Query.DEPLOYMENTS: "Deployment",
    Query.DAEMON_SETS: "DaemonSet",
    Query.STATEFUL_SETS: "StatefulSet",
    Query.REPLICA_SETS: "ReplicaSet",
    Query.REPLICATION_CONTROLLERS: "ReplicationController",
    Query.JOBS: "Job",
    Query.CRON_JOBS: "CronJob",
}
"""The kinds of objects with a pod template, by their query."""

QUERIES = (Query.PODS, *CONTROLLERS)
"""The queries that this module needs."""


def workloads_with_controllers(cluster: Cluster) -> Iterator[tuple[Query, Workload]]:
    """Yield all workloads with the query that lists them.

    The controller of a pod is the outermost one, such as the Deployment of its ReplicaSet. A controller has another
    one only if that is listed, so that the title is always an object that has a template.
    """
    listed = [workload for query in CONTROLLERS for workload in cluster.objects[query]]
    titles = {workload.own_title for workload in listed}
    above = {
        workload.own_title: workload.controller
        for workload in listed
        if workload.controller and workload.title in titles
    }
    for query in QUERIES:
        for workload in cluster.objects[query]:
            if query is Query.PODS:
                yield query, workload._replace(controller=above.get(workload.title, workload.controller))
            else:
                yield query, workload._replace(controller=above.get(workload.own_title, ""))


def workloads_to_check(cluster: Cluster) -> Iterator[tuple[Query, Workload]]:
    """Yield the workloads that rules check: pods, and templates of controllers from which no pod is known to be.

    Such a template can be another one than that of its pods: after an edit of a StatefulSet that updates on deletion,
    of a paused Deployment, or of a ReplicaSet. Pods are preferred to their template, because admission can change them.
    """
    listed = [*workloads_with_controllers(cluster)]
    made = {workload.title for workload in cluster.objects[Query.PODS]}
    revisions = {(item.title, item.revision) for item in cluster.objects[Query.PODS]}
    copies: dict[str, list[object]] = {}
    for query, workload in listed:
        if query is Query.REPLICA_SETS and not workload.is_dormant and workload.own_title in made:
            copies.setdefault(workload.title, []).append(workload.content)
    for query, workload in listed:
        has_pods_of_it = {
            Query.DEPLOYMENTS: workload.content in copies.get(workload.own_title, ()),
            Query.REPLICA_SETS: workload.own_title in made and bool(workload.controller),
            Query.JOBS: workload.own_title in made,
        }.get(query, query in _REVISED and (workload.own_title, workload.revision) in revisions)
        if query is Query.PODS or not (workload.is_dormant or has_pods_of_it):
            yield query, workload


_REVISED = frozenset({Query.DAEMON_SETS, Query.STATEFUL_SETS})
"""Controllers whose pods have a label with the revision of their template."""
