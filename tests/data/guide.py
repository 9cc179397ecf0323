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
SYSCTLS = {
    "vm.panic_on_oom": "0",
    "vm.overcommit_memory": "1",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
}

DIRECTORIES = {
    "/var/lib/rancher/k3s/server/manifests": 0o700,
    "/var/lib/rancher/k3s/server/logs": 0o700,
}
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
ADMISSION_PLUGINS = {
    OLDER: "NodeRestriction,PodSecurityPolicy,ServiceAccount",
    NEWER: "NodeRestriction,ServiceAccount",
}
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
ADMISSION_PLUGINS_CIS: dict[str, tuple[str, ...]] = {
    OLDER: ("1.2.15", "5.2", "1.2.13"),
    NEWER: ("1.2.15", "1.2.13"),
}
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

POD_SECURITY_POLICIES: list[dict[str, Any]] = [
    {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {"name": "restricted-psp"},
        "spec": {
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "requiredDropCapabilities": ["ALL"],
            "volumes": [
                "configMap",
                "emptyDir",
                "projected",
                "secret",
                "downwardAPI",
                "csi",
                "persistentVolumeClaim",
                "ephemeral",
            ],
            "hostNetwork": False,
            "hostIPC": False,
            "hostPID": False,
            "runAsUser": {"rule": "MustRunAsNonRoot"},
            "seLinux": {"rule": "RunAsAny"},
            "supplementalGroups": {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 65535}]},
            "fsGroup": {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 65535}]},
            "readOnlyRootFilesystem": False,
        },
    },
    {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {
            "name": "system-unrestricted-psp",
            "annotations": {"seccomp.security.alpha.kubernetes.io/allowedProfileNames": "*"},
        },
        "spec": {
            "allowPrivilegeEscalation": True,
            "allowedCapabilities": ["*"],
            "fsGroup": {"rule": "RunAsAny"},
            "hostIPC": True,
            "hostNetwork": True,
            "hostPID": True,
            "hostPorts": [{"max": 65535, "min": 0}],
            "privileged": True,
            "runAsUser": {"rule": "RunAsAny"},
            "seLinux": {"rule": "RunAsAny"},
            "supplementalGroups": {"rule": "RunAsAny"},
            "volumes": ["*"],
        },
    },
    {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {
            "name": "svclb-psp",
            "annotations": {"seccomp.security.alpha.kubernetes.io/allowedProfileNames": "*"},
        },
        "spec": {
            "allowPrivilegeEscalation": False,
            "allowedCapabilities": ["NET_ADMIN"],
            "allowedUnsafeSysctls": ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"],
            "fsGroup": {"rule": "RunAsAny"},
            "hostPorts": [{"max": 65535, "min": 0}],
            "runAsUser": {"rule": "RunAsAny"},
            "seLinux": {"rule": "RunAsAny"},
            "supplementalGroups": {"rule": "RunAsAny"},
        },
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "psp:restricted-psp"},
        "rules": [
            {
                "apiGroups": ["policy"],
                "resources": ["podsecuritypolicies"],
                "verbs": ["use"],
                "resourceNames": ["restricted-psp"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "psp:system-unrestricted-psp"},
        "rules": [
            {
                "apiGroups": ["policy"],
                "resources": ["podsecuritypolicies"],
                "resourceNames": ["system-unrestricted-psp"],
                "verbs": ["use"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "psp:svclb-psp"},
        "rules": [
            {
                "apiGroups": ["policy"],
                "resources": ["podsecuritypolicies"],
                "resourceNames": ["svclb-psp"],
                "verbs": ["use"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "psp:svc-local-path-provisioner-psp"},
        "rules": [
            {
                "apiGroups": ["policy"],
                "resources": ["podsecuritypolicies"],
                "resourceNames": ["system-unrestricted-psp"],
                "verbs": ["use"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "psp:svc-coredns-psp"},
        "rules": [
            {
                "apiGroups": ["policy"],
                "resources": ["podsecuritypolicies"],
                "resourceNames": ["system-unrestricted-psp"],
                "verbs": ["use"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "psp:svc-cis-operator-psp"},
        "rules": [
            {
                "apiGroups": ["policy"],
                "resources": ["podsecuritypolicies"],
                "resourceNames": ["system-unrestricted-psp"],
                "verbs": ["use"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "default:restricted-psp"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "psp:restricted-psp"},
        "subjects": [{"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system-unrestricted-node-psp-rolebinding"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "psp:system-unrestricted-psp",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "system-unrestricted-svc-acct-psp-rolebinding", "namespace": "kube-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "psp:system-unrestricted-psp",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "svclb-psp-rolebinding", "namespace": "kube-system"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "psp:svclb-psp"},
        "subjects": [{"kind": "ServiceAccount", "name": "svclb"}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "svc-local-path-provisioner-psp-rolebinding", "namespace": "kube-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "psp:svc-local-path-provisioner-psp",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "local-path-provisioner-service-account"}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "svc-coredns-psp-rolebinding", "namespace": "kube-system"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "psp:svc-coredns-psp"},
        "subjects": [{"kind": "ServiceAccount", "name": "coredns"}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "svc-cis-operator-psp-rolebinding", "namespace": "cis-operator-system"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "psp:svc-cis-operator-psp"},
        "subjects": [{"kind": "ServiceAccount", "name": "cis-operator-serviceaccount"}],
    },
]

NETWORK_POLICIES: list[dict[str, Any]] = [
    {
        "kind": "NetworkPolicy",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "intra-namespace", "namespace": "kube-system"},
        "spec": {
            "podSelector": {},
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"name": "kube-system"}}}]}],
        },
    },
    {
        "kind": "NetworkPolicy",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "intra-namespace", "namespace": "default"},
        "spec": {
            "podSelector": {},
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"name": "default"}}}]}],
        },
    },
    {
        "kind": "NetworkPolicy",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "intra-namespace", "namespace": "kube-public"},
        "spec": {
            "podSelector": {},
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"name": "kube-public"}}}]}],
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "default-network-dns-policy", "namespace": "<NAMESPACE>"},
        "spec": {
            "ingress": [{"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}],
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "policyTypes": ["Ingress"],
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-all-metrics-server", "namespace": "kube-system"},
        "spec": {
            "podSelector": {"matchLabels": {"k8s-app": "metrics-server"}},
            "ingress": [{}],
            "policyTypes": ["Ingress"],
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-all-svclbtraefik-ingress", "namespace": "kube-system"},
        "spec": {
            "podSelector": {"matchLabels": {"svccontroller.k3s.cattle.io/svcname": "traefik"}},
            "ingress": [{}],
            "policyTypes": ["Ingress"],
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-all-traefik-v121-ingress", "namespace": "kube-system"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
            "ingress": [{}],
            "policyTypes": ["Ingress"],
        },
    },
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
