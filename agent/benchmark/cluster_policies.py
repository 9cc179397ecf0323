"""Controls that require manual review: rights in the cluster, and workloads.

Sections 3.1 and 5, and single controls of 3.2 and 4.2. Each row describes what to review.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.benchmark.control import BenchmarkControl, numbered
from agent.checks.audit_coverage import AuditCoverage
from agent.checks.cluster.check import ClusterCheck
from agent.checks.manual import Manual
from agent.guide.controls import DEFAULT_SERVICE_ACCOUNTS
from agent.guide.files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.model import EVERYWHERE, ON_SERVERS

if TYPE_CHECKING:
    from agent.guide.control import GuideControl

_KUBERNETES = "kubernetes/website content/en/docs"
_AUTHENTICATION = f"{_KUBERNETES}/reference/access-authn-authz/authentication.md"
_RBAC = f"{_KUBERNETES}/concepts/security/rbac-good-practices.md"
_STANDARDS = f"{_KUBERNETES}/concepts/security/pod-security-standards.md"
_SECRETS = f"{_KUBERNETES}/concepts/security/secrets-good-practices.md"
_HARDENING = "k3s-io/docs docs/security/hardening-guide.md"

_manual = partial(BenchmarkControl, applies=ON_SERVERS)


def _row(  # noqa: PLR0913 - a row is this wide
    identifier: str,
    title: str,
    review: str,
    why: str,
    numbers: str,
    *,
    source: str,
    level: int = 1,
    guide: GuideControl | None = None,
) -> BenchmarkControl:
    """Return a control that the objects of the cluster decide, by the rule with its ID."""
    return BenchmarkControl(
        identifier,
        title,
        ClusterCheck(review, identifier),
        why,
        source,
        numbered(numbers),
        level=level,
        applies=ON_SERVERS,
        guide=guide,
    )


_user = partial(_row, source=_AUTHENTICATION)

_USERS: tuple[BenchmarkControl, ...] = (
    _manual(
        "users-without-client-certificates",
        "Users do not log in with client certificates",
        Manual(
            "Find out who uses a kubeconfig with client-certificate-data, such as a copy of /etc/rancher/k3s/k3s.yaml,"
            " and whether users log in with OIDC or another authenticator instead."
        ),
        "Kubernetes cannot revoke a certificate. A stolen certificate, or one of a former user, is valid until it"
        " expires.",
        numbers=numbered("3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M"),
        source=_AUTHENTICATION,
    ),
    _user(
        "users-without-service-account-tokens",
        "Users do not log in with service account tokens",
        "Run 'kubectl get secrets -A --field-selector type=kubernetes.io/service-account-token' and find out for"
        " each token, and each one from 'kubectl create token', whether a user logs in with it.",
        "A service account belongs to a workload. The audit log does not show which user has its token, and a"
        " token in a Secret does not expire.",
        "- - 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M",
    ),
    _user(
        "users-without-bootstrap-tokens",
        "Users do not log in with bootstrap tokens",
        "Run 'k3s token list', find out the purpose of each token, and let it expire after its nodes have joined.",
        "A bootstrap token is for joining nodes. Many people may know it, and it does not identify the user.",
        "- - 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M",
    ),
    _manual(
        "audit-policy-coverage",
        "The audit policy covers security events",
        AuditCoverage(
            "Read the file that audit-policy-file names, and verify that it logs access to Secrets, ConfigMaps and"
            " token reviews, changes to workloads, and exec, attach, port-forward and proxy. The guide's audit.yaml"
            " logs the metadata of every request."
        ),
        "Events that the policy omits cannot be investigated later, such as who read a Secret, opened a shell in a"
        " pod, or issued a token.",
        numbers=numbered("3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M"),
        source=_HARDENING,
        level=2,
        guide=AUDIT_POLICY,
    ),
)

_KUBELET: tuple[BenchmarkControl, ...] = (
    _manual(
        "kubelet-ip-address-deny",
        "systemd limits the addresses that can reach the kubelet",
        Manual(
            "Run 'systemctl show --property=IPAddressDeny,IPAddressAllow k3s k3s-agent', and review the host's"
            " firewall. On K3s the restriction applies to everything that K3s serves, including its API server."
        ),
        "A kubelet that is not reachable cannot be attacked. systemd can reject all addresses except those of the"
        " cluster, like a firewall. The kubelet itself has no such argument.",
        numbers=numbered("- - - - - - 4.2.15M - - -"),
        source="systemd/systemd man/systemd.resource-control.xml",
        level=2,
        applies=EVERYWHERE,
    ),
)

_ROLES = "'kubectl describe clusterroles,roles -A'"


def _rule(what: str) -> str:
    return (
        f"Find roles with {what} in {_ROLES}, and review with 'kubectl get clusterrolebindings,rolebindings -A -o wide'"
    )


_access = partial(_row, source=_RBAC)

_ACCESS: tuple[BenchmarkControl, ...] = (
    _access(
        "rbac-cluster-admin",
        "Only users who need it are cluster administrators",
        "Run 'kubectl get clusterrolebindings -o wide' and review who has ClusterRole/cluster-admin. On K3s the"
        " group system:masters and the two jobs that install Traefik need it.",
        "cluster-admin may do everything in all namespaces, so each account with this role is an attack target.",
        "5.1.1M 5.1.1M 5.1.1M 5.1.1M 5.1.1A 5.1.1A 5.1.1M 5.1.1M 5.1.1M 5.1.1M",
    ),
    _access(
        "rbac-secrets",
        "Few accounts may read Secrets",
        f"{_rule('get, list or watch on secrets')} who has them.",
        "A Secret often contains the credentials of another system, or the token of an account with more rights."
        " The right to list Secrets includes their content.",
        "5.1.2M 5.1.2M 5.1.2M 5.1.2M 5.1.2M 5.1.2A 5.1.2M 5.1.2M 5.1.2M 5.1.2M",
    ),
    _access(
        "rbac-wildcards",
        "Roles name what they allow, without wildcards",
        f"Find '*' in {_ROLES}. On every K3s, cluster-admin, some system: roles, k3s-cloud-controller-manager and"
        " local-path-provisioner-role have it.",
        "A wildcard also includes future resources, such as those of a new add-on.",
        "5.1.3M 5.1.3M 5.1.3M 5.1.3M 5.1.3A 5.1.3A 5.1.3M 5.1.3M 5.1.3M 5.1.3M",
    ),
    _access(
        "rbac-create-pods",
        "Few accounts may create pods",
        f"{_rule('create on pods or on resources that create pods, such as jobs')} who has them.",
        "Everyone who can create a pod can mount any Secret of its namespace, use any of its service accounts, and"
        " access the host unless a policy forbids it.",
        "5.1.4M 5.1.4M 5.1.4M 5.1.4M 5.1.4M 5.1.4A 5.1.4M 5.1.4M 5.1.4M 5.1.4M",
    ),
    _row(
        DEFAULT_SERVICE_ACCOUNTS.id,
        DEFAULT_SERVICE_ACCOUNTS.title,
        "Run 'kubectl get serviceaccounts -A --field-selector metadata.name=default -o"
        " custom-columns=NAMESPACE:.metadata.namespace,TOKEN:.automountServiceAccountToken': all except"
        " kube-system's must show false. 'k3s-harden service-accounts' sets it.",
        DEFAULT_SERVICE_ACCOUNTS.why,
        "5.1.5M 5.1.5M 5.1.5M 5.1.5M 5.1.5A 5.1.5A 5.1.5M 5.1.5M 5.1.5M 5.1.5M",
        source=_HARDENING,
        guide=DEFAULT_SERVICE_ACCOUNTS,
    ),
    _access(
        "service-account-token-mounts",
        "Only pods that need it receive a service account token",
        "Run 'kubectl get pods -A -o"
        " custom-columns=NAMESPACE:.metadata.namespace,POD:.metadata.name,"
        "ACCOUNT:.spec.serviceAccountName,TOKEN:.spec.automountServiceAccountToken'"
        " and find out for each pod that does not show false whether it uses the API server. On K3s CoreDNS,"
        " Traefik, metrics-server and local-path do.",
        "An attacker in a pod has its token, and with it all rights of its account in the cluster.",
        "5.1.6M 5.1.6M 5.1.6M 5.1.6M 5.1.6A 5.1.6A 5.1.6M 5.1.6M 5.1.6M 5.1.6M",
    ),
    _access(
        "rbac-system-masters",
        "The group system:masters is not used for daily work",
        "Find out who has a copy of K3s' admin kubeconfig, /etc/rancher/k3s/k3s.yaml, whose certificate is in the"
        " group, and whether other certificates with O=system:masters exist.",
        "The group bypasses RBAC, so its rights cannot be revoked by a change of roles.",
        "5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M",
    ),
    _access(
        "rbac-bind-impersonate-escalate",
        "Few accounts may bind, impersonate or escalate",
        f"{_rule('the verbs bind, impersonate or escalate')} who has them.",
        "Each of the three verbs gives an account more rights than its own, by granting them or by acting as"
        " another account.",
        "5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M",
    ),
    _access(
        "rbac-persistent-volumes",
        "Few accounts may create PersistentVolumes",
        f"{_rule('create on persistentvolumes')} who has them.",
        "A PersistentVolume can be any directory of a host, and so gives access to its files despite all policies"
        " for pods.",
        "- - 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M",
    ),
    _access(
        "rbac-nodes-proxy",
        "Few accounts may access the kubelet through nodes/proxy",
        f"{_rule('nodes/proxy')} who has them.",
        "It allows everything that the kubelet can do, including commands in any pod of the node. A request"
        " directly to the kubelet bypasses the audit log and the admission plugins of the API server.",
        "- - 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M",
    ),
    _access(
        "rbac-csr-approval",
        "Few accounts may approve certificate signing requests",
        f"{_rule('update on certificatesigningrequests/approval')} who has them.",
        "Everyone who can approve a request can create a certificate for any user or node, which cannot be revoked.",
        "- - 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M",
    ),
    _access(
        "rbac-webhooks",
        "Few accounts may change admission webhooks",
        f"{_rule('create or update on validatingwebhookconfigurations or mutatingwebhookconfigurations')} who has"
        " them.",
        "A webhook receives every object that it is called for, including Secrets, and a mutating webhook can"
        " change it.",
        "- - 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M",
    ),
    _access(
        "rbac-token-creation",
        "Few accounts may create service account tokens",
        f"{_rule('create on serviceaccounts/token')} who has them.",
        "Everyone who can create a token for an account has all rights of that account until the token expires.",
        "- - 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M",
    ),
    _row(
        "rbac-kubelet-subresources",
        "Accounts that only read from the kubelet have no other rights on it",
        f"{_rule('nodes/proxy')} which accounts only read, so that a finer subresource is sufficient.",
        "nodes/proxy allows everything that the kubelet can do. A program that collects health, metrics or the"
        " list of pods only needs nodes/healthz, nodes/metrics or nodes/pods.",
        "- - - - - - - - - 5.1.14M",
        source=f"{_KUBERNETES}/reference/access-authn-authz/kubelet-authn-authz.md",
    ),
)

_BY_ADMISSION = "if the API server reads the guide's psa.yaml, that is 'restricted', which rejects it"
_BY_BOTH = f"{_BY_ADMISSION}, as the guide's PodSecurityPolicies do up to v1.24"


def _find(field: str, by: str = _BY_BOTH) -> str:
    return (
        f"Find {field} in 'kubectl get pods -A -o yaml', and review in 'kubectl get namespaces --show-labels' which"
        f" namespaces have a weaker Pod Security standard than the default: {by}."
    )


_pods = partial(_row, source=_STANDARDS, guide=POD_SECURITY_ADMISSION)

_PODS: tuple[BenchmarkControl, ...] = (
    _pods(
        "pod-policy-mechanism",
        "A policy decides which pods are admitted",
        "Run 'kubectl get namespaces --show-labels' and verify that no namespace with workloads has the standard"
        " 'privileged' or is exempt. If the API server reads the guide's psa.yaml, 'restricted' is the default for"
        " the others. `k3s-harden check` reports another file that is weaker. Up to v1.24, the guide's"
        " PodSecurityPolicies apply.",
        "Without it, everyone who may create a pod can take over the node that it runs on.",
        "5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M",
    ),
    _pods(
        "pods-privileged",
        "Privileged containers are not admitted",
        _find("'privileged: true'"),
        "A privileged container has all devices of the host and all rights of its root user.",
        "5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M",
    ),
    _pods(
        "pods-host-pid",
        "Pods in the host's process ID namespace are not admitted",
        _find("'hostPID: true'"),
        "Such a pod can read the environment of all processes of the host, and send them signals.",
        "5.2.3M 5.2.3M 5.2.3u 5.2.3u 5.2.3M 5.2.3M 5.2.3M 5.2.3M 5.2.3M 5.2.3M",
    ),
    _pods(
        "pods-host-ipc",
        "Pods in the host's IPC namespace are not admitted",
        _find("'hostIPC: true'"),
        "Such a pod can read and change the shared memory of the host's processes.",
        "5.2.4M 5.2.4M 5.2.4u 5.2.4u 5.2.4M 5.2.4M 5.2.4M 5.2.4M 5.2.4M 5.2.4M",
    ),
    _pods(
        "pods-host-network",
        "Pods in the host's network are not admitted",
        _find("'hostNetwork: true'"),
        "Such a pod can connect to services on the host's loopback address and read the traffic of other pods, and"
        " no NetworkPolicy applies to it.",
        "5.2.5M 5.2.5M 5.2.5u 5.2.5u 5.2.5M 5.2.5M 5.2.5M 5.2.5M 5.2.5M 5.2.5M",
    ),
    _pods(
        "pods-privilege-escalation",
        "Containers that can gain privileges are not admitted",
        _find("containers without 'allowPrivilegeEscalation: false'"),
        "A process in such a container can become root through a setuid program in its image.",
        "5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M",
    ),
    _pods(
        "pods-root",
        "Containers that run as root are not admitted",
        _find("pods without 'runAsNonRoot: true'"),
        "To the kernel, root in a container is root on the host, so one fault in the isolation is sufficient for"
        " an attack.",
        "5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M",
        level=2,
    ),
    _pods(
        "pods-net-raw",
        "Containers with NET_RAW are not admitted",
        _find("containers that drop neither ALL nor NET_RAW"),
        "With raw sockets, which container runtimes allow by default, a pod can impersonate another pod on the"
        " network.",
        "5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M",
    ),
    _pods(
        "pods-added-capabilities",
        "Containers that add capabilities are not admitted",
        _find("'capabilities' with 'add'"),
        "Some capabilities, such as SYS_ADMIN, give almost all rights of root.",
        "5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M - - -",
    ),
    _pods(
        "pods-assigned-capabilities",
        "Containers that keep capabilities are not admitted",
        _find("containers that do not drop ALL capabilities"),
        "Few programs need the capabilities that a container runtime grants by default, and each helps an attacker.",
        "5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.9M 5.2.9M 5.2.9M",
        level=2,
    ),
    _pods(
        "pods-windows-host-process",
        "Windows HostProcess containers are not admitted",
        _find("'hostProcess: true'", _BY_ADMISSION),
        "Such a container has full access to its Windows node.",
        "5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.10M 5.2.10M 5.2.10M",
    ),
    _pods(
        "pods-host-path",
        "Pods with hostPath volumes are not admitted",
        _find("volumes with 'hostPath'"),
        ("Such a pod can read or write files of the host, including K3s' keys and the container runtime's socket."),
        "5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.11M 5.2.11M 5.2.11M",
    ),
    _pods(
        "pods-host-ports",
        "Containers with host ports are not admitted",
        _find("'hostPort'"),
        "A host port is reachable from outside without a Service, and often despite NetworkPolicies.",
        "5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.12M 5.2.12M 5.2.12M",
    ),
    _pods(
        "pods-proc-mount",
        "Containers with an unmasked /proc are not admitted",
        _find("'procMount: Unmasked'"),
        "The runtime hides the parts of /proc that reveal or change the state of the host's kernel. 'Unmasked'"
        " makes them visible in the container.",
        "- - - - - - - - - 5.2.13M",
    ),
)

_NETWORK: tuple[BenchmarkControl, ...] = (
    _row(
        "cni-network-policies",
        "NetworkPolicies are enforced",
        "Find 'disable-network-policy' and 'flannel-backend: none' in K3s' configuration. K3s' controller enforces"
        " NetworkPolicies unless the first is set; then another CNI must enforce them.",
        "If no controller enforces them, NetworkPolicies are accepted but have no effect, without a warning.",
        "5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M",
        source="k3s-io/k3s pkg/agent/netpol/netpol.go",
    ),
    _row(
        "namespaces-network-policies",
        "All namespaces have NetworkPolicies",
        "Compare 'kubectl get networkpolicies -A' with 'kubectl get namespaces': the guide's policy.yaml contains"
        " those of kube-system, default and kube-public, and each other namespace needs its own.",
        "Without one, every pod may connect to every other pod, so an attacker in one pod can reach all others.",
        "5.3.2M 5.3.2M 5.3.2u 5.3.2u 5.3.2u 5.3.2M 5.3.2M 5.3.2M 5.3.2M 5.3.2M",
        source=_HARDENING,
        level=2,
        guide=NETWORK_POLICIES,
    ),
)

_DATA: tuple[BenchmarkControl, ...] = (
    _row(
        "secrets-as-files",
        "Programs receive Secrets as files, not as environment variables",
        "Find secretKeyRef and secretRef in 'kubectl get pods -A -o yaml'.",
        "A program's environment is visible in logs, in crash reports and in the programs that it starts.",
        "5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M",
        source=_SECRETS,
        level=2,
    ),
    _row(
        "external-secret-storage",
        "Secrets with higher requirements are stored outside the cluster",
        "Find out which secrets require frequent rotation or access logs, and whether a store outside the cluster"
        " provides them.",
        "A secret store logs every access, rotates secrets automatically, and is independent of the cluster.",
        "5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M",
        source=_SECRETS,
        level=2,
    ),
    _row(
        "image-provenance",
        "Only images of known origin are admitted",
        "Find ImagePolicyWebhook in the file that admission-control-config-file names, and a policy engine that"
        " verifies image signatures in 'kubectl get"
        " validatingwebhookconfigurations,mutatingwebhookconfigurations'.",
        "Otherwise everyone who controls a registry, or a similar name, can run programs in the cluster.",
        "5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M",
        source=f"{_KUBERNETES}/reference/access-authn-authz/admission-controllers.md",
        level=2,
    ),
    _row(
        "namespace-boundaries",
        "Namespaces separate teams and environments",
        "Run 'kubectl get namespaces' and verify that each team, and each environment, has its own namespaces.",
        "Roles, quotas, NetworkPolicies and Pod Security apply to a whole namespace.",
        "5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.6.1M 5.6.1M 5.6.1M 5.6.1M",
        source=f"{_KUBERNETES}/concepts/security/multi-tenancy.md",
    ),
    _row(
        "pods-seccomp",
        "Pods have a seccomp profile",
        _find("pods without 'seccompProfile', or with 'type: Unconfined'", _BY_ADMISSION),
        "Without one a container can make every system call, including those that few programs need and many"
        " attacks use.",
        "5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.6.2M 5.6.2M 5.6.2M 5.6.2M",
        source=f"{_KUBERNETES}/tutorials/security/seccomp.md",
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-security-context",
        "Pods and containers have a security context",
        "Find pods with an empty securityContext in 'kubectl get pods -A -o yaml'. If the API server reads the"
        " guide's psa.yaml, 'restricted' is the default, which requires most of its fields.",
        "It defines the user and the rights of a program. Fields without a value have the runtime's permissive"
        " default.",
        "5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.6.3M 5.6.3M 5.6.3M 5.6.3M",
        source=f"{_KUBERNETES}/tasks/configure-pod-container/security-context.md",
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "default-namespace",
        "The namespace default is not used",
        "Run 'kubectl get all -n default': the Service kubernetes is the only expected resource.",
        "Resources without a namespace are created there, and all of them share the same rights and policies.",
        "5.7.4M 5.7.4M 5.7.4u 5.7.4u 5.7.4u 5.7.4M 5.6.4M 5.6.4M 5.6.4M 5.6.4M",
        source=f"{_KUBERNETES}/concepts/overview/working-with-objects/namespaces.md",
        level=2,
    ),
)

MANUAL: tuple[BenchmarkControl, ...] = (*_USERS, *_KUBELET, *_ACCESS, *_PODS, *_NETWORK, *_DATA)
"""In the benchmarks' order."""
