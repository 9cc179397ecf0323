"""Queries to the API server that the controls need. All are reads."""

from __future__ import annotations

from typing import NamedTuple

from agent.model import StrEnum

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


class Query(StrEnum):
    """A list of objects, by its name in the reference."""

    NAMESPACES = "namespaces"
    PODS = "pods"
    DEPLOYMENTS = "deployments"
    DAEMON_SETS = "daemonsets"
    STATEFUL_SETS = "statefulsets"
    REPLICA_SETS = "replicasets"
    REPLICATION_CONTROLLERS = "replicationcontrollers"
    JOBS = "jobs"
    CRON_JOBS = "cronjobs"
    SERVICE_ACCOUNTS = "serviceaccounts"
    ROLES = "roles"
    CLUSTER_ROLES = "clusterroles"
    ROLE_BINDINGS = "rolebindings"
    CLUSTER_ROLE_BINDINGS = "clusterrolebindings"
    NETWORK_POLICIES = "networkpolicies"
    SECRETS = "secrets"
    VALIDATING_WEBHOOKS = "validatingwebhookconfigurations"
    MUTATING_WEBHOOKS = "mutatingwebhookconfigurations"
    ADMISSION_POLICIES = "validatingadmissionpolicies"
    NODES = "nodes"
    DEFAULT_SERVICES = "services in default"


class Request(NamedTuple):
    """How a query is sent."""

    path: str
    accept: str = OBJECTS
    parameters: str = ""
    """Of the URL, in addition to those of paging."""
    may_be_missing: bool = False
    """Whether an API server that does not have the resource answers as if there were no objects."""


REQUESTS = {
    Query.NAMESPACES: Request("/api/v1/namespaces", METADATA),
    Query.PODS: Request("/api/v1/pods"),
    Query.DEPLOYMENTS: Request(f"{_APPS}/deployments"),
    Query.DAEMON_SETS: Request(f"{_APPS}/daemonsets"),
    Query.STATEFUL_SETS: Request(f"{_APPS}/statefulsets"),
    Query.REPLICA_SETS: Request(f"{_APPS}/replicasets"),
    Query.REPLICATION_CONTROLLERS: Request("/api/v1/replicationcontrollers"),
    Query.JOBS: Request(f"{_BATCH}/jobs"),
    Query.CRON_JOBS: Request(f"{_BATCH}/cronjobs"),
    Query.SERVICE_ACCOUNTS: Request("/api/v1/serviceaccounts"),
    Query.ROLES: Request(f"{_RBAC}/roles"),
    Query.CLUSTER_ROLES: Request(f"{_RBAC}/clusterroles"),
    Query.ROLE_BINDINGS: Request(f"{_RBAC}/rolebindings"),
    Query.CLUSTER_ROLE_BINDINGS: Request(f"{_RBAC}/clusterrolebindings"),
    Query.NETWORK_POLICIES: Request("/apis/networking.k8s.io/v1/networkpolicies", METADATA),
    # Not METADATA: the annotation of `kubectl apply` repeats the content of a Secret. These columns never have it.
    Query.SECRETS: Request("/api/v1/secrets", TABLE, "includeObject=None"),
    Query.VALIDATING_WEBHOOKS: Request(f"{_ADMISSION}/validatingwebhookconfigurations"),
    Query.MUTATING_WEBHOOKS: Request(f"{_ADMISSION}/mutatingwebhookconfigurations"),
    Query.ADMISSION_POLICIES: Request(f"{_ADMISSION}/validatingadmissionpolicies", may_be_missing=True),
    Query.NODES: Request("/api/v1/nodes"),
    Query.DEFAULT_SERVICES: Request("/api/v1/namespaces/default/services", METADATA),
}
"""Each query with its request, in the order in which they are sent."""

FLAGS = Request("/flagz", "application/json;v=v1alpha1;g=config.k8s.io;as=Flagz")
"""The effective flags of the API server, from Kubernetes 1.36 on."""


def kubelet_configuration(node: str) -> Request:
    """Return the request for the effective configuration of a node's kubelet, which the API server passes on."""
    return Request(f"/api/v1/nodes/{node}/proxy/configz")
