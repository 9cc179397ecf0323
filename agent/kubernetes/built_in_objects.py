"""Objects and accounts that K3s and Kubernetes create, with the content that they have and the reason for it.

An object that has the name of one of these, but more rights or another content, belongs to the site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.kubernetes.objects import RbacRule, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.kubernetes.objects import Container, RbacRole, Workload

SYSTEM_NAMESPACE = "kube-system"
OWN_NAMESPACES = {
    SYSTEM_NAMESPACE: "it has only pods of K3s",
    "kube-public": "it has no pods of the site",
    "kube-node-lease": "it has no pods of the site",
}
"""The namespaces that Kubernetes creates for itself, each with the reason why it needs no standard."""

SYSTEM_MASTERS = Subject("Group", "", "system:masters")
CLUSTER_ADMIN = "cluster-admin"

_KUBERNETES = "Kubernetes creates it, and needs it"
_CONTROLLER = "system:controller:"
"""Prefix of the roles of Kubernetes' controllers."""


def _in_system(name: str) -> Subject:
    return Subject("ServiceAccount", SYSTEM_NAMESPACE, name)


class _BuiltInRole(NamedTuple):
    """A role of K3s or Kubernetes that has a wildcard, or a right that a control is about."""

    reason: str
    """Why it has wildcards."""
    rules: tuple[RbacRule, ...]
    """Those rules with a wildcard or such a right, of all versions together."""
    holders: dict[Subject, str]
    """The accounts that have it, each with the reason."""


def _rule(verbs: str, resources: str, groups: str = "") -> RbacRule:
    found = frozenset(groups.split()) or frozenset({""})
    return RbacRule(frozenset(verbs.split()), found, frozenset(resources.split()), frozenset())


_PODS = _rule("create delete get list patch update watch", "pods")
_CONTROLLERS = {
    # kubernetes, plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata/controller-roles.yaml, 1.21 to 1.37
    "certificate-controller": (
        _rule("update", "certificatesigningrequests/approval certificatesigningrequests/status", "certificates.k8s.io"),
    ),
    "clusterrole-aggregation-controller": (
        _rule("escalate get list patch update watch", "clusterroles", "rbac.authorization.k8s.io"),
    ),
    "cronjob-controller": (_rule("create delete get list patch update watch", "jobs", "batch"),),
    "daemon-set-controller": (_PODS,),
    "deployment-controller": (_rule("create delete get list patch update watch", "replicasets", "apps extensions"),),
    "disruption-controller": (_rule("get", "*/scale", "*"),),
    "expand-controller": (_rule("get", "secrets"),),
    "generic-garbage-collector": (_rule("delete get list patch update watch", "*", "*"),),
    "horizontal-pod-autoscaler": (
        _rule("get list watch", "*", "custom.metrics.k8s.io external.metrics.k8s.io"),
        _rule("get update", "*/scale", "*"),
    ),
    "job-controller": (_PODS,),
    "namespace-controller": (_rule("delete deletecollection get list watch", "*", "*"),),
    "persistent-volume-binder": (
        _PODS,
        _rule("create delete get list update watch", "persistentvolumes"),
        _rule("get", "secrets"),
    ),
    "replicaset-controller": (_PODS,),
    "replication-controller": (_PODS,),
    "resourcequota-controller": (_rule("list watch", "*", "*"),),
    "statefulset-controller": (_PODS,),
    "storage-version-migrator-controller": (_rule("list patch", "*", "*"),),
}
_LOCAL_PATH = _BuiltInRole(
    "K3s' local-path provisioner manages volumes with it",
    (_rule("*", "endpoints persistentvolumes pods"),),
    {_in_system("local-path-provisioner-service-account"): "K3s packages the local-path provisioner of volumes"},
)
_OF_SECRETS = (_rule("delete get list watch", "secrets"),)


def _of_controller(name: str, rules: tuple[RbacRule, ...]) -> _BuiltInRole:
    return _BuiltInRole(_KUBERNETES, rules, {_in_system(name): "it is a controller of Kubernetes"})


_ROLES = {
    **{("", f"{_CONTROLLER}{name}"): _of_controller(name, rules) for name, rules in _CONTROLLERS.items()},
    **{
        (SYSTEM_NAMESPACE, f"{_CONTROLLER}{name}"): _of_controller(name, _OF_SECRETS)
        for name in ("bootstrap-signer", "token-cleaner")
    },
    ("", CLUSTER_ADMIN): _BuiltInRole(
        _KUBERNETES,
        (_rule("*", "*", "*"),),
        {
            SYSTEM_MASTERS: "it is the group of K3s' admin kubeconfig",
            _in_system("helm-traefik"): "K3s installs Traefik with it",
            _in_system("helm-traefik-crd"): "K3s installs the resource definitions of Traefik with it",
        },
    ),
    ("", "k3s-cloud-controller-manager"): _BuiltInRole(
        "K3s' cloud controller manages nodes with it",
        (_rule("*", "nodes"), _rule("*", "daemonsets", "apps")),
        {Subject("User", "", "k3s-cloud-controller-manager"): "it is K3s' cloud controller"},
    ),
    ("", "local-path-provisioner-role"): _LOCAL_PATH,
    (SYSTEM_NAMESPACE, "local-path-provisioner-role"): _LOCAL_PATH,
    ("", "system:kube-controller-manager"): _BuiltInRole(
        _KUBERNETES,
        (
            _rule("create", "serviceaccounts/token"),
            _rule("get", "configmaps namespaces secrets serviceaccounts"),
            _rule("list watch", "*", "*"),
        ),
        {Subject("User", "", "system:kube-controller-manager"): "it is the controller manager"},
    ),
    ("", "system:kubelet-api-admin"): _BuiltInRole(
        "the API server uses the kubelet's API with it",
        (
            _rule(
                "*",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/spec nodes/stats",
            ),
        ),
        {Subject("User", "", "kube-apiserver"): "the API server uses it for the kubelet's API"},
    ),
    ("", "traefik-kube-system"): _BuiltInRole(
        "",
        (_rule("get list watch", "configmaps endpoints namespaces nodes secrets services"),),
        {_in_system("traefik"): "K3s packages Traefik, the Ingress controller"},
    ),
}
"""By namespace and name. A role that K3s or Kubernetes creates without such rights needs no row."""


class _PackagedWorkload(NamedTuple):
    """A controller that K3s creates in kube-system. None of them has privileges on the host."""

    kind: str
    name: str
    """If it ends with a hyphen, the beginning of the name."""
    account: str
    images: frozenset[str]
    reason: str
    adds: frozenset[str] = frozenset()
    """Capabilities that its containers may add."""
    has_host_ports: bool = False


def _images(names: str) -> frozenset[str]:
    return frozenset(f"rancher/{name}" for name in names.split())


_WORKLOADS = (
    _PackagedWorkload(
        "Deployment",
        "coredns",
        "coredns",
        _images("coredns-coredns mirrored-coredns-coredns"),
        "K3s packages CoreDNS, the DNS server of the cluster",
        adds=frozenset({"NET_BIND_SERVICE"}),
    ),
    _PackagedWorkload(
        "Deployment",
        "local-path-provisioner",
        "local-path-provisioner-service-account",
        _images("local-path-provisioner"),
        "K3s packages the local-path provisioner of volumes",
    ),
    _PackagedWorkload(
        "Deployment",
        "metrics-server",
        "metrics-server",
        _images("metrics-server mirrored-metrics-server"),
        "K3s packages metrics-server, which collects metrics from kubelets",
    ),
    _PackagedWorkload(
        "Deployment",
        "traefik",
        "traefik",
        _images("library-traefik mirrored-library-traefik"),
        "K3s packages Traefik, the Ingress controller",
        adds=frozenset({"NET_BIND_SERVICE"}),
    ),
    _PackagedWorkload(
        "DaemonSet",
        "svclb-",
        "svclb",
        _images("klipper-lb"),
        "K3s packages the load balancer of Services",
        adds=frozenset({"NET_ADMIN"}),
        has_host_ports=True,
    ),
    _PackagedWorkload(
        "Job", "helm-install-traefik", "helm-traefik", _images("klipper-helm"), "K3s installs Traefik with it"
    ),
    _PackagedWorkload(
        "Job",
        "helm-install-traefik-crd",
        "helm-traefik-crd",
        _images("klipper-helm"),
        "K3s installs the resource definitions of Traefik with it",
    ),
)
"""The pods of the local-path provisioner that create and delete directories are not among them.

They are privileged for a few seconds, and anybody who may create pods in kube-system can create such a pod.
"""


def reason_of_account(subject: Subject, role: tuple[str, str], rules: Iterable[RbacRule]) -> str:
    """Return why an account has these rules of a role on every K3s; empty if the site granted them.

    `role` is its namespace and name.
    """
    found = _ROLES.get(role)
    return found.holders.get(subject, "") if found is not None and _is_covered(rules, found) else ""


def reason_of_role(role: RbacRole, rules: Iterable[RbacRule]) -> str:
    """Return why a role has these rules, which have wildcards, on every K3s; empty if the site created them."""
    found = _ROLES.get((role.namespace, role.name))
    if found is None or ("*" in role.urls and role.name != CLUSTER_ADMIN):
        return ""
    return found.reason if _is_covered(rules, found) else ""


def _is_covered(rules: Iterable[RbacRule], built_in: _BuiltInRole) -> bool:
    return all(any(_covers(known, rule) for known in built_in.rules) for rule in rules)


def _covers(known: RbacRule, rule: RbacRule) -> bool:
    # `names` limits a rule further.
    return all("*" in most or part <= most for most, part in zip(known[:3], rule[:3]))


def reason_of_workload(workload: Workload, registry: str = "") -> str:
    """Return why K3s itself runs a pod or controller; empty if the site runs it, or has changed it.

    `registry` is K3s' option system-default-registry.
    """
    kind, _, name = workload.controller.partition(" ")
    kind, name = (kind, name) if kind else (workload.kind, workload.name)
    for row in _WORKLOADS:
        is_named = name.startswith(row.name) if row.name.endswith("-") else name == row.name
        if is_named and (kind, workload.account) == (row.kind, row.account) and _is_unchanged(workload, row, registry):
            return row.reason
    return ""


def _is_unchanged(workload: Workload, row: _PackagedWorkload, registry: str) -> bool:
    has_privileges = workload.host_pid or workload.host_ipc or workload.host_network or workload.host_paths
    return (
        workload.namespace == SYSTEM_NAMESPACE
        and not has_privileges
        and all(_is_shipped(container, row, registry) for container in workload.containers)
    )


def _is_shipped(container: Container, row: _PackagedWorkload, registry: str) -> bool:
    return (
        _repository(container.image, registry) in row.images
        and not (container.privileged or container.host_process or container.proc_mount == "Unmasked")
        and container.adds <= row.adds
        and (row.has_host_ports or not container.host_ports)
    )


def _repository(image: str, registry: str) -> str:
    """Return an image without its registry, if K3s uses that one, and without tag and digest."""
    name = image.partition("@")[0]
    for known in filter(None, ("docker.io", registry)):
        name = name.removeprefix(f"{known.rstrip('/')}/")
    return name.partition(":")[0]
