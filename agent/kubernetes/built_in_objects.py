"""Objects and accounts of K3s and Kubernetes, each with the reason for its rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.kubernetes.objects import Subject

if TYPE_CHECKING:
    from agent.kubernetes.objects import Binding, RbacRole, Workload

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


def _in_system(name: str) -> Subject:
    return Subject("ServiceAccount", SYSTEM_NAMESPACE, name)


_INSTALLERS = {
    _in_system("helm-traefik"): "K3s installs Traefik with it",
    _in_system("helm-traefik-crd"): "K3s installs the resource definitions of Traefik with it",
}
_ADDONS = {
    **_INSTALLERS,
    _in_system("coredns"): "K3s packages CoreDNS, the DNS server of the cluster",
    _in_system("local-path-provisioner-service-account"): "K3s packages the local-path provisioner of volumes",
    _in_system("metrics-server"): "K3s packages metrics-server, which collects metrics from kubelets",
    _in_system("svclb"): "K3s packages the load balancer of Services",
    _in_system("traefik"): "K3s packages Traefik, the Ingress controller",
}
_KUBELETS = Subject("Group", "", "system:nodes")
_COMPONENTS = {
    Subject("User", "", "k3s-cloud-controller-manager"): "it is K3s' cloud controller",
    Subject("User", "", "kube-apiserver"): "the API server uses it for the kubelet's API",
    Subject("User", "", "system:apiserver"): "it is the API server",
    Subject("User", "", "system:k3s-controller"): "it is K3s' agent on each node",
    Subject("User", "", "system:kube-controller-manager"): "it is the controller manager",
    Subject("User", "", "system:kube-proxy"): "it is kube-proxy",
    Subject("User", "", "system:kube-scheduler"): "it is the scheduler",
    Subject("Group", "", "system:bootstrappers:k3s:default-node-token"): "nodes join with it",
    Subject("Group", "", "system:monitoring"): _KUBERNETES,
    _KUBELETS: "it is the group of kubelets",
    SYSTEM_MASTERS: "it is the group of K3s' admin kubeconfig",
}
_WITHOUT_THE_NODE_AUTHORIZER = frozenset({"system:node", "system:kubelet-api-admin"})
"""Roles that let every kubelet read what the node authorizer permits only to the node of a pod."""

_ROLES = frozenset({"k3s-cloud-controller-manager", "local-path-provisioner-role", "traefik-kube-system"})
"""The names of K3s' own roles that do not start with `system:`."""

_WITH_WILDCARDS = {
    CLUSTER_ADMIN: _KUBERNETES,
    "k3s-cloud-controller-manager": "K3s' cloud controller manages nodes with it",
    "local-path-provisioner-role": "K3s' local-path provisioner manages volumes with it",
    "system:kube-controller-manager": _KUBERNETES,
    "system:kubelet-api-admin": "the API server uses the kubelet's API with it",
}
_CONTROLLER = "system:controller:"
"""Prefix of the roles of Kubernetes' controllers. They differ between versions."""

_POD_PREFIXES = ("coredns-", "helm-install-traefik", "local-path-provisioner-", "metrics-server-", "svclb-", "traefik-")
_HELPER = "helper-pod-"
"""The local-path provisioner creates these pods with the default account, to create and delete directories."""


def reason_of_account(subject: Subject, binding: Binding) -> str:
    """Return why an account has the rights of this binding on every K3s; empty if the site granted them."""
    controller = binding.role.removeprefix(_CONTROLLER)
    if subject == _in_system(controller) and controller != binding.role:
        return "it is a controller of Kubernetes"
    if binding.role == CLUSTER_ADMIN:
        return _COMPONENTS[subject] if subject == SYSTEM_MASTERS else _INSTALLERS.get(subject, "")
    if subject == _KUBELETS and binding.role in _WITHOUT_THE_NODE_AUTHORIZER:
        return ""
    if binding.role.startswith("system:") or binding.role in _ROLES:
        return _COMPONENTS.get(subject) or _ADDONS.get(subject, "")
    return ""


def reason_of_role(role: RbacRole) -> str:
    """Return why a role has wildcards on every K3s; empty if the site created it."""
    if role.namespace:
        return ""
    return _KUBERNETES if role.name.startswith(_CONTROLLER) else _WITH_WILDCARDS.get(role.name, "")


def reason_of_workload(workload: Workload) -> str:
    """Return why K3s itself runs a pod or controller; empty if the site runs it."""
    if workload.namespace != SYSTEM_NAMESPACE:
        return ""
    if workload.name.startswith(_HELPER):
        return "the local-path provisioner creates it"
    known = _ADDONS.get(_in_system(workload.account), "")
    # The name of a controller is that of its pods without the last hyphen and what follows.
    return known if f"{workload.name}-".startswith(_POD_PREFIXES) else ""
