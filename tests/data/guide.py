"""What the guide says, as data: the values of its code blocks and of its text, none of its prose.

"The guide" is the K3s Hardening Guide for Rancher v2.7, which covers Kubernetes v1.23 to v1.26. Recorded as it has
them, mistakes included: where this program differs, a test names the difference.
"""

from __future__ import annotations

from typing import Any

HEADINGS = (
    "Ensure protect-kernel-defaults is set",
    "Set kernel parameters",
    "Pod Security",
    "Network Policies",
    "API Server audit configuration",
    "Controller Manager Requirements",
    "Configure default Service Account",
    "Reference Hardened K3s Template Configuration",
)
"""Its headings that ask for something, in its order: seven of the third level, and the last of the second but one."""

OLDER = "v1.24 and older"
NEWER = "v1.25 and newer"
"""The two families of versions that its tabs are for."""

SYSCTL_FILE = "/etc/sysctl.d/90-kubelet.conf"
SYSCTLS = {"vm.panic_on_oom": "0", "vm.overcommit_memory": "1", "kernel.panic": "10", "kernel.panic_on_oops": "1"}

DIRECTORIES = {"/var/lib/rancher/k3s/server/manifests": 0o700, "/var/lib/rancher/k3s/server/logs": 0o700}
POLICY_FILE = "/var/lib/rancher/k3s/server/manifests/policy.yaml"
AUDIT_FILE = "/var/lib/rancher/k3s/server/audit.yaml"

POD_SECURITY_TEMPLATE = "rancher-restricted"
"""The name of the template that Rancher's Cluster asks for, v1.25 and newer."""

API_SERVER = {
    "audit-policy-file": AUDIT_FILE,
    "audit-log-path": "/var/lib/rancher/k3s/server/logs/audit.log",
    "audit-log-maxage": "30",
    "audit-log-maxbackup": "10",
    "audit-log-maxsize": "100",
    "request-timeout": "300s",
    "service-account-lookup": "true",
}
"""kube-apiserver-arg of both version families; enable-admission-plugins is apart."""
ADMISSION_PLUGINS = {OLDER: "NodeRestriction,PodSecurityPolicy,ServiceAccount", NEWER: "NodeRestriction,ServiceAccount"}
CONTROLLER_MANAGER = {"terminated-pod-gc-threshold": "10"}
KUBELET = {"make-iptables-util-chains": "true"}
SECRETS_ENCRYPTION = True
PROTECT_KERNEL_DEFAULTS = {OLDER: True, NEWER: None}

CIS: dict[str, tuple[str, ...]] = {
    "audit-policy-file": ("3.2.1",),
    "audit-log-path": ("1.2.18",),
    "audit-log-maxage": ("1.2.19",),
    "audit-log-maxbackup": ("1.2.20",),
    "audit-log-maxsize": ("1.2.21",),
    "request-timeout": ("1.2.22",),
    "service-account-lookup": ("1.2.24",),
    "terminated-pod-gc-threshold": ("1.3.1",),
    "make-iptables-util-chains": ("4.2.7",),
    "protect-kernel-defaults": ("4.2.6",),
}
"""The numbers beside the arguments in the templates."""
ADMISSION_PLUGINS_CIS: dict[str, tuple[str, ...]] = {OLDER: ("1.2.15", "5.2", "1.2.13"), NEWER: ("1.2.15", "1.2.13")}
SERVICE_ACCOUNT_CIS = "5.1.5"
POD_SECURITY_POLICY_CIS: dict[str, tuple[str, ...]] = {
    "privileged": ("5.2.1",),
    "hostPID": ("5.2.2",),
    "hostIPC": ("5.2.3",),
    "hostNetwork": ("5.2.4",),
    "allowPrivilegeEscalation": ("5.2.5",),
    "runAsUser": ("5.2.6",),
    "requiredDropCapabilities": ("5.2.7", "5.2.8", "5.2.9"),
}
"""The numbers beside the fields of restricted-psp."""

AUDIT_POLICY: dict[str, Any] = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}

SERVICE_ACCOUNT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "default"},
    "automountServiceAccountToken": False,
}
SERVICE_ACCOUNT_COMMANDS = ("kubectl get namespaces", "kubectl patch serviceaccount default")
"""What its account_update.sh runs: the first once, the second for each namespace that the first prints."""

_ANY: dict[str, Any] = {"rule": "RunAsAny"}
_ALL_PROFILES = {"annotations": {"seccomp.security.alpha.kubernetes.io/allowedProfileNames": "*"}}
_NOT_ROOT = {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 65535}]}
_ANY_USER = {"runAsUser": _ANY, "seLinux": _ANY, "supplementalGroups": _ANY, "fsGroup": _ANY}
_ANY_PORT = [{"min": 0, "max": 65535}]


def _object(kind: str, name: str, namespace: str = "", **fields: object) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **fields}


def _policy(name: str, metadata: dict[str, Any], **spec: object) -> dict[str, Any]:
    metadata = {"name": name, **metadata}
    return {"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": metadata, "spec": spec}


def _role(name: str, policy: str) -> dict[str, Any]:
    rule = {"apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "verbs": ["use"], "resourceNames": [policy]}
    return _object("ClusterRole", f"psp:{name}", rules=[rule])


def _binding(name: str, role: str, subject: dict[str, str], namespace: str = "") -> dict[str, Any]:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"psp:{role}"}
    return _object(kind, name, namespace, roleRef=reference, subjects=[subject])


def _group(name: str) -> dict[str, str]:
    return {"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"}


POD_SECURITY_POLICIES: list[dict[str, Any]] = [
    _policy(
        "restricted-psp",
        {},
        **dict.fromkeys(("privileged", "allowPrivilegeEscalation", "readOnlyRootFilesystem"), False),
        **dict.fromkeys(("hostNetwork", "hostIPC", "hostPID"), False),
        requiredDropCapabilities=["ALL"],
        volumes=[
            *("configMap", "emptyDir", "projected", "secret", "downwardAPI", "csi", "persistentVolumeClaim"),
            "ephemeral",
        ],
        runAsUser={"rule": "MustRunAsNonRoot"},
        seLinux=_ANY,
        supplementalGroups=_NOT_ROOT,
        fsGroup=_NOT_ROOT,
    ),
    _policy(
        "system-unrestricted-psp",
        _ALL_PROFILES,
        **dict.fromkeys(("privileged", "allowPrivilegeEscalation", "hostNetwork", "hostIPC", "hostPID"), True),
        **_ANY_USER,
        allowedCapabilities=["*"],
        hostPorts=_ANY_PORT,
        volumes=["*"],
    ),
    _policy(
        "svclb-psp",
        _ALL_PROFILES,
        **_ANY_USER,
        allowPrivilegeEscalation=False,
        allowedCapabilities=["NET_ADMIN"],
        allowedUnsafeSysctls=["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"],
        hostPorts=_ANY_PORT,
    ),
    _role("restricted-psp", "restricted-psp"),
    *(
        _role(name, "svclb-psp" if name == "svclb-psp" else "system-unrestricted-psp")
        for name in (
            *("system-unrestricted-psp", "svclb-psp", "svc-local-path-provisioner-psp", "svc-coredns-psp"),
            "svc-cis-operator-psp",
        )
    ),
    _binding("default:restricted-psp", "restricted-psp", _group("system:authenticated")),
    _binding("system-unrestricted-node-psp-rolebinding", "system-unrestricted-psp", _group("system:nodes")),
    _binding(
        "system-unrestricted-svc-acct-psp-rolebinding",
        "system-unrestricted-psp",
        _group("system:serviceaccounts"),
        "kube-system",
    ),
    *(
        _binding(f"{role}-rolebinding", role, {"kind": "ServiceAccount", "name": account}, namespace)
        for role, account, namespace in (
            ("svclb-psp", "svclb", "kube-system"),
            ("svc-local-path-provisioner-psp", "local-path-provisioner-service-account", "kube-system"),
            ("svc-coredns-psp", "coredns", "kube-system"),
            ("svc-cis-operator-psp", "cis-operator-serviceaccount", "cis-operator-system"),
        )
    ),
]


def _network_policy(name: str, namespace: str, *ingress: object, **spec: object) -> dict[str, Any]:
    spec = {"podSelector": {}, "ingress": list(ingress), **spec}
    return _object("NetworkPolicy", name, namespace, spec=spec, apiVersion="networking.k8s.io/v1")


def _labelled(key: str, value: str) -> dict[str, Any]:
    return {"matchLabels": {key: value}}


NETWORK_POLICIES: list[dict[str, Any]] = [
    *(
        _network_policy("intra-namespace", name, {"from": [{"namespaceSelector": _labelled("name", name)}]})
        for name in ("kube-system", "default", "kube-public")
    ),
    _network_policy(
        "default-network-dns-policy",
        "<NAMESPACE>",
        {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
        podSelector=_labelled("k8s-app", "kube-dns"),
        policyTypes=["Ingress"],
    ),
    *(
        _network_policy(
            f"allow-all-{name}", "kube-system", {}, podSelector=_labelled(key, value), policyTypes=["Ingress"]
        )
        for name, key, value in (
            ("metrics-server", "k8s-app", "metrics-server"),
            ("svclbtraefik-ingress", "svccontroller.k3s.cattle.io/svcname", "traefik"),
            ("traefik-v121-ingress", "app.kubernetes.io/name", "traefik"),
        )
    ),
]

OWN_GUIDE_OF_K3S = """\
protect-kernel-defaults: true
secrets-encryption: true
kube-apiserver-arg:
  - "enable-admission-plugins=NodeRestriction,EventRateLimit"
  - 'admission-control-config-file=/var/lib/rancher/k3s/server/psa.yaml'
  - 'audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log'
  - 'audit-policy-file=/var/lib/rancher/k3s/server/audit.yaml'
  - 'audit-log-maxage=30'
  - 'audit-log-maxbackup=10'
  - 'audit-log-maxsize=100'
  - 'service-account-extend-token-expiration=false'
kube-controller-manager-arg:
  - 'terminated-pod-gc-threshold=100'
kubelet-arg:
  - 'streaming-connection-idle-timeout=5m'
  - "tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
"""  # noqa: E501 - as it is there
"""The configuration for v1.29 and newer in the K3s project's own guide (k3s-io/docs, hardening-guide.md, 589654d4)."""
