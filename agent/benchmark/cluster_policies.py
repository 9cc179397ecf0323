"""Controls that require manual review: rights in the cluster, and workloads.

Sections 3.1 and 5, and single controls of 3.2 and 4.2. Each row describes what to review.
"""

from __future__ import annotations

from functools import partial

from agent.benchmark.control import BenchmarkControl, numbered
from agent.checks.cluster.check import ClusterCheck
from agent.checks.manual import Manual
from agent.guide.controls import DEFAULT_SERVICE_ACCOUNTS
from agent.guide.files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.model import EVERYWHERE, ON_SERVERS

_KUBERNETES = "kubernetes/website content/en/docs"
_AUTHENTICATION = f"{_KUBERNETES}/reference/access-authn-authz/authentication.md"
_RBAC = f"{_KUBERNETES}/concepts/security/rbac-good-practices.md"
_STANDARDS = f"{_KUBERNETES}/concepts/security/pod-security-standards.md"
_SECRETS = f"{_KUBERNETES}/concepts/security/secrets-good-practices.md"
_HARDENING = "k3s-io/docs docs/security/hardening-guide.md"

_row = partial(BenchmarkControl, applies=ON_SERVERS)

_user = partial(_row, source=_AUTHENTICATION)

_USERS: tuple[BenchmarkControl, ...] = (
    _user(
        id="users-without-client-certificates",
        numbers=numbered("3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M"),
        title="Users do not log in with client certificates",
        why=(
            "Kubernetes cannot revoke a certificate. A stolen certificate, or one of a former user, is valid until it"
            " expires."
        ),
        check=Manual(
            "Find out who uses a kubeconfig with client-certificate-data, such as a copy of /etc/rancher/k3s/k3s.yaml,"
            " and whether users log in with OIDC or another authenticator instead."
        ),
    ),
    _user(
        id="users-without-service-account-tokens",
        numbers=numbered("- - 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M"),
        title="Users do not log in with service account tokens",
        why=(
            "A service account belongs to a workload. The audit log does not show which user has its token, and a"
            " token in a Secret does not expire."
        ),
        check=ClusterCheck(
            "Run 'kubectl get secrets -A --field-selector type=kubernetes.io/service-account-token' and find out for"
            " each token, and each one from 'kubectl create token', whether a user logs in with it.",
            "users-without-service-account-tokens",
        ),
    ),
    _user(
        id="users-without-bootstrap-tokens",
        numbers=numbered("- - 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M"),
        title="Users do not log in with bootstrap tokens",
        why="A bootstrap token is for joining nodes. Many people may know it, and it does not identify the user.",
        check=ClusterCheck(
            "Run 'k3s token list', find out the purpose of each token, and let it expire after its nodes have joined.",
            "users-without-bootstrap-tokens",
        ),
    ),
    _row(
        id="audit-policy-coverage",
        numbers=numbered("3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M"),
        title="The audit policy covers security events",
        why=(
            "Events that the policy omits cannot be investigated later, such as who read a Secret, opened a shell in a"
            " pod, or issued a token."
        ),
        check=Manual(
            "Read the file that audit-policy-file names, and verify that it logs access to Secrets, ConfigMaps and"
            " token reviews, changes to workloads, and exec, attach, port-forward and proxy. The guide's audit.yaml"
            " logs the metadata of every request."
        ),
        source=_HARDENING,
        level=2,
        guide=AUDIT_POLICY,
    ),
)

_KUBELET: tuple[BenchmarkControl, ...] = (
    _row(
        id="kubelet-ip-address-deny",
        numbers=numbered("- - - - - - 4.2.15M - - -"),
        title="systemd limits the addresses that can reach the kubelet",
        why=(
            "A kubelet that is not reachable cannot be attacked. systemd can reject all addresses except those of the"
            " cluster, like a firewall. The kubelet itself has no such argument."
        ),
        check=Manual(
            "Run 'systemctl show --property=IPAddressDeny,IPAddressAllow k3s k3s-agent', and review the host's"
            " firewall. On K3s the restriction applies to everything that K3s serves, including its API server."
        ),
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
        id="rbac-cluster-admin",
        numbers=numbered("5.1.1M 5.1.1M 5.1.1M 5.1.1M 5.1.1A 5.1.1A 5.1.1M 5.1.1M 5.1.1M 5.1.1M"),
        title="Only users who need it are cluster administrators",
        why="cluster-admin may do everything in all namespaces, so each account with this role is an attack target.",
        check=ClusterCheck(
            "Run 'kubectl get clusterrolebindings -o wide' and review who has ClusterRole/cluster-admin. On K3s the"
            " group system:masters and the two jobs that install Traefik need it.",
            "rbac-cluster-admin",
        ),
    ),
    _access(
        id="rbac-secrets",
        numbers=numbered("5.1.2M 5.1.2M 5.1.2M 5.1.2M 5.1.2M 5.1.2A 5.1.2M 5.1.2M 5.1.2M 5.1.2M"),
        title="Few accounts may read Secrets",
        why=(
            "A Secret often contains the credentials of another system, or the token of an account with more rights."
            " The right to list Secrets includes their content."
        ),
        check=ClusterCheck(f"{_rule('get, list or watch on secrets')} who has them.", "rbac-secrets"),
    ),
    _access(
        id="rbac-wildcards",
        numbers=numbered("5.1.3M 5.1.3M 5.1.3M 5.1.3M 5.1.3A 5.1.3A 5.1.3M 5.1.3M 5.1.3M 5.1.3M"),
        title="Roles name what they allow, without wildcards",
        why="A wildcard also includes future resources, such as those of a new add-on.",
        check=ClusterCheck(
            f"Find '*' in {_ROLES}. On every K3s, cluster-admin, some system: roles, k3s-cloud-controller-manager and"
            " local-path-provisioner-role have it.",
            "rbac-wildcards",
        ),
    ),
    _access(
        id="rbac-create-pods",
        numbers=numbered("5.1.4M 5.1.4M 5.1.4M 5.1.4M 5.1.4M 5.1.4A 5.1.4M 5.1.4M 5.1.4M 5.1.4M"),
        title="Few accounts may create pods",
        why=(
            "Everyone who can create a pod can mount any Secret of its namespace, use any of its service accounts, and"
            " access the host unless a policy forbids it."
        ),
        check=ClusterCheck(
            f"{_rule('create on pods or on resources that create pods, such as jobs')} who has them.",
            "rbac-create-pods",
        ),
    ),
    _row(
        id=DEFAULT_SERVICE_ACCOUNTS.id,
        numbers=numbered("5.1.5M 5.1.5M 5.1.5M 5.1.5M 5.1.5A 5.1.5A 5.1.5M 5.1.5M 5.1.5M 5.1.5M"),
        title=DEFAULT_SERVICE_ACCOUNTS.title,
        why=DEFAULT_SERVICE_ACCOUNTS.why,
        check=ClusterCheck(
            "Run 'kubectl get serviceaccounts -A --field-selector metadata.name=default -o"
            " custom-columns=NAMESPACE:.metadata.namespace,TOKEN:.automountServiceAccountToken': all except"
            " kube-system's must show false. 'k3s-harden service-accounts' sets it.",
            "default-service-accounts",
        ),
        source=_HARDENING,
        guide=DEFAULT_SERVICE_ACCOUNTS,
    ),
    _access(
        id="service-account-token-mounts",
        numbers=numbered("5.1.6M 5.1.6M 5.1.6M 5.1.6M 5.1.6A 5.1.6A 5.1.6M 5.1.6M 5.1.6M 5.1.6M"),
        title="Only pods that need it receive a service account token",
        why="An attacker in a pod has its token, and with it all rights of its account in the cluster.",
        check=ClusterCheck(
            "Run 'kubectl get pods -A -o"
            " custom-columns=NAMESPACE:.metadata.namespace,POD:.metadata.name,"
            "ACCOUNT:.spec.serviceAccountName,TOKEN:.spec.automountServiceAccountToken'"
            " and find out for each pod that does not show false whether it uses the API server. On K3s CoreDNS,"
            " Traefik, metrics-server and local-path do.",
            "service-account-token-mounts",
        ),
    ),
    _access(
        id="rbac-system-masters",
        numbers=numbered("5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M"),
        title="The group system:masters is not used for daily work",
        why="The group bypasses RBAC, so its rights cannot be revoked by a change of roles.",
        check=ClusterCheck(
            "Find out who has a copy of K3s' admin kubeconfig, /etc/rancher/k3s/k3s.yaml, whose certificate is in the"
            " group, and whether other certificates with O=system:masters exist.",
            "rbac-system-masters",
        ),
    ),
    _access(
        id="rbac-bind-impersonate-escalate",
        numbers=numbered("5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M"),
        title="Few accounts may bind, impersonate or escalate",
        why=(
            "Each of the three verbs gives an account more rights than its own, by granting them or by acting as"
            " another account."
        ),
        check=ClusterCheck(
            f"{_rule('the verbs bind, impersonate or escalate')} who has them.", "rbac-bind-impersonate-escalate"
        ),
    ),
    _access(
        id="rbac-persistent-volumes",
        numbers=numbered("- - 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M"),
        title="Few accounts may create PersistentVolumes",
        why=(
            "A PersistentVolume can be any directory of a host, and so gives access to its files despite all policies"
            " for pods."
        ),
        check=ClusterCheck(f"{_rule('create on persistentvolumes')} who has them.", "rbac-persistent-volumes"),
    ),
    _access(
        id="rbac-nodes-proxy",
        numbers=numbered("- - 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M"),
        title="Few accounts may access the kubelet through nodes/proxy",
        why=(
            "It allows everything that the kubelet can do, including commands in any pod of the node. A request"
            " directly to the kubelet bypasses the audit log and the admission plugins of the API server."
        ),
        check=ClusterCheck(f"{_rule('nodes/proxy')} who has them.", "rbac-nodes-proxy"),
    ),
    _access(
        id="rbac-csr-approval",
        numbers=numbered("- - 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M"),
        title="Few accounts may approve certificate signing requests",
        why=(
            "Everyone who can approve a request can create a certificate for any user or node, which cannot be revoked."
        ),
        check=ClusterCheck(
            f"{_rule('update on certificatesigningrequests/approval')} who has them.", "rbac-csr-approval"
        ),
    ),
    _access(
        id="rbac-webhooks",
        numbers=numbered("- - 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M"),
        title="Few accounts may change admission webhooks",
        why=(
            "A webhook receives every object that it is called for, including Secrets, and a mutating webhook can"
            " change it."
        ),
        check=ClusterCheck(
            f"{_rule('create or update on validatingwebhookconfigurations or mutatingwebhookconfigurations')} who has"
            " them.",
            "rbac-webhooks",
        ),
    ),
    _access(
        id="rbac-token-creation",
        numbers=numbered("- - 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M"),
        title="Few accounts may create service account tokens",
        why="Everyone who can create a token for an account has all rights of that account until the token expires.",
        check=ClusterCheck(f"{_rule('create on serviceaccounts/token')} who has them.", "rbac-token-creation"),
    ),
    _row(
        id="rbac-kubelet-subresources",
        numbers=numbered("- - - - - - - - - 5.1.14M"),
        title="Accounts that only read from the kubelet have no other rights on it",
        why=(
            "nodes/proxy allows everything that the kubelet can do. A program that collects health, metrics or the"
            " list of pods only needs nodes/healthz, nodes/metrics or nodes/pods."
        ),
        check=ClusterCheck(
            f"{_rule('nodes/proxy')} which accounts only read, so that a finer subresource is sufficient.",
            "rbac-kubelet-subresources",
        ),
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
        id="pod-policy-mechanism",
        numbers=numbered("5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M"),
        title="A policy decides which pods are admitted",
        why="Without it, everyone who may create a pod can take over the node that it runs on.",
        check=ClusterCheck(
            "Run 'kubectl get namespaces --show-labels' and verify that no namespace with workloads has the standard"
            " 'privileged' or is exempt. If the API server reads the guide's psa.yaml, 'restricted' is the default for"
            " the others. `k3s-harden check` reports another file that is weaker. Up to v1.24, the guide's"
            " PodSecurityPolicies apply.",
            "pod-policy-mechanism",
        ),
    ),
    _pods(
        id="pods-privileged",
        numbers=numbered("5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M"),
        title="Privileged containers are not admitted",
        why="A privileged container has all devices of the host and all rights of its root user.",
        check=ClusterCheck(_find("'privileged: true'"), "pods-privileged"),
    ),
    _pods(
        id="pods-host-pid",
        numbers=numbered("5.2.3M 5.2.3M 5.2.3u 5.2.3u 5.2.3M 5.2.3M 5.2.3M 5.2.3M 5.2.3M 5.2.3M"),
        title="Pods in the host's process ID namespace are not admitted",
        why="Such a pod can read the environment of all processes of the host, and send them signals.",
        check=ClusterCheck(_find("'hostPID: true'"), "pods-host-pid"),
    ),
    _pods(
        id="pods-host-ipc",
        numbers=numbered("5.2.4M 5.2.4M 5.2.4u 5.2.4u 5.2.4M 5.2.4M 5.2.4M 5.2.4M 5.2.4M 5.2.4M"),
        title="Pods in the host's IPC namespace are not admitted",
        why="Such a pod can read and change the shared memory of the host's processes.",
        check=ClusterCheck(_find("'hostIPC: true'"), "pods-host-ipc"),
    ),
    _pods(
        id="pods-host-network",
        numbers=numbered("5.2.5M 5.2.5M 5.2.5u 5.2.5u 5.2.5M 5.2.5M 5.2.5M 5.2.5M 5.2.5M 5.2.5M"),
        title="Pods in the host's network are not admitted",
        why=(
            "Such a pod can connect to services on the host's loopback address and read the traffic of other pods, and"
            " no NetworkPolicy applies to it."
        ),
        check=ClusterCheck(_find("'hostNetwork: true'"), "pods-host-network"),
    ),
    _pods(
        id="pods-privilege-escalation",
        numbers=numbered("5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M"),
        title="Containers that can gain privileges are not admitted",
        why="A process in such a container can become root through a setuid program in its image.",
        check=ClusterCheck(_find("containers without 'allowPrivilegeEscalation: false'"), "pods-privilege-escalation"),
    ),
    _pods(
        id="pods-root",
        numbers=numbered("5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M"),
        title="Containers that run as root are not admitted",
        why=(
            "To the kernel, root in a container is root on the host, so one fault in the isolation is sufficient for"
            " an attack."
        ),
        check=ClusterCheck(_find("pods without 'runAsNonRoot: true'"), "pods-root"),
        level=2,
    ),
    _pods(
        id="pods-net-raw",
        numbers=numbered("5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M"),
        title="Containers with NET_RAW are not admitted",
        why=(
            "With raw sockets, which container runtimes allow by default, a pod can impersonate another pod on the"
            " network."
        ),
        check=ClusterCheck(_find("containers that drop neither ALL nor NET_RAW"), "pods-net-raw"),
    ),
    _pods(
        id="pods-added-capabilities",
        numbers=numbered("5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M - - -"),
        title="Containers that add capabilities are not admitted",
        why="Some capabilities, such as SYS_ADMIN, give almost all rights of root.",
        check=ClusterCheck(_find("'capabilities' with 'add'"), "pods-added-capabilities"),
    ),
    _pods(
        id="pods-assigned-capabilities",
        numbers=numbered("5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.9M 5.2.9M 5.2.9M"),
        title="Containers that keep capabilities are not admitted",
        why=(
            "Few programs need the capabilities that a container runtime grants by default, and each helps an attacker."
        ),
        check=ClusterCheck(_find("containers that do not drop ALL capabilities"), "pods-assigned-capabilities"),
        level=2,
    ),
    _pods(
        id="pods-windows-host-process",
        numbers=numbered("5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.10M 5.2.10M 5.2.10M"),
        title="Windows HostProcess containers are not admitted",
        why="Such a container has full access to its Windows node.",
        check=ClusterCheck(_find("'hostProcess: true'", _BY_ADMISSION), "pods-windows-host-process"),
    ),
    _pods(
        id="pods-host-path",
        numbers=numbered("5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.11M 5.2.11M 5.2.11M"),
        title="Pods with hostPath volumes are not admitted",
        why=("Such a pod can read or write files of the host, including K3s' keys and the container runtime's socket."),
        check=ClusterCheck(_find("volumes with 'hostPath'"), "pods-host-path"),
    ),
    _pods(
        id="pods-host-ports",
        numbers=numbered("5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.12M 5.2.12M 5.2.12M"),
        title="Containers with host ports are not admitted",
        why="A host port is reachable from outside without a Service, and often despite NetworkPolicies.",
        check=ClusterCheck(_find("'hostPort'"), "pods-host-ports"),
    ),
    _pods(
        id="pods-proc-mount",
        numbers=numbered("- - - - - - - - - 5.2.13M"),
        title="Containers with an unmasked /proc are not admitted",
        why=(
            "The runtime hides the parts of /proc that reveal or change the state of the host's kernel. 'Unmasked'"
            " makes them visible in the container."
        ),
        check=ClusterCheck(_find("'procMount: Unmasked'"), "pods-proc-mount"),
    ),
)

_NETWORK: tuple[BenchmarkControl, ...] = (
    _row(
        id="cni-network-policies",
        numbers=numbered("5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M"),
        title="NetworkPolicies are enforced",
        why="If no controller enforces them, NetworkPolicies are accepted but have no effect, without a warning.",
        check=ClusterCheck(
            "Find 'disable-network-policy' and 'flannel-backend: none' in K3s' configuration. K3s' controller enforces"
            " NetworkPolicies unless the first is set; then another CNI must enforce them.",
            "cni-network-policies",
        ),
        source="k3s-io/k3s pkg/agent/netpol/netpol.go",
    ),
    _row(
        id="namespaces-network-policies",
        numbers=numbered("5.3.2M 5.3.2M 5.3.2u 5.3.2u 5.3.2u 5.3.2M 5.3.2M 5.3.2M 5.3.2M 5.3.2M"),
        title="All namespaces have NetworkPolicies",
        why="Without one, every pod may connect to every other pod, so an attacker in one pod can reach all others.",
        check=ClusterCheck(
            "Compare 'kubectl get networkpolicies -A' with 'kubectl get namespaces': the guide's policy.yaml contains"
            " those of kube-system, default and kube-public, and each other namespace needs its own.",
            "namespaces-network-policies",
        ),
        source=_HARDENING,
        level=2,
        guide=NETWORK_POLICIES,
    ),
)

_DATA: tuple[BenchmarkControl, ...] = (
    _row(
        id="secrets-as-files",
        numbers=numbered("5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M"),
        title="Programs receive Secrets as files, not as environment variables",
        why="A program's environment is visible in logs, in crash reports and in the programs that it starts.",
        check=ClusterCheck("Find secretKeyRef and secretRef in 'kubectl get pods -A -o yaml'.", "secrets-as-files"),
        source=_SECRETS,
        level=2,
    ),
    _row(
        id="external-secret-storage",
        numbers=numbered("5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M"),
        title="Secrets with higher requirements are stored outside the cluster",
        why="A secret store logs every access, rotates secrets automatically, and is independent of the cluster.",
        check=ClusterCheck(
            "Find out which secrets require frequent rotation or access logs, and whether a store outside the cluster"
            " provides them.",
            "external-secret-storage",
        ),
        source=_SECRETS,
        level=2,
    ),
    _row(
        id="image-provenance",
        numbers=numbered("5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M"),
        title="Only images of known origin are admitted",
        why="Otherwise everyone who controls a registry, or a similar name, can run programs in the cluster.",
        check=ClusterCheck(
            "Find ImagePolicyWebhook in the file that admission-control-config-file names, and a policy engine that"
            " verifies image signatures in 'kubectl get"
            " validatingwebhookconfigurations,mutatingwebhookconfigurations'.",
            "image-provenance",
        ),
        source=f"{_KUBERNETES}/reference/access-authn-authz/admission-controllers.md",
        level=2,
    ),
    _row(
        id="namespace-boundaries",
        numbers=numbered("5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.6.1M 5.6.1M 5.6.1M 5.6.1M"),
        title="Namespaces separate teams and environments",
        why="Roles, quotas, NetworkPolicies and Pod Security apply to a whole namespace.",
        check=ClusterCheck(
            "Run 'kubectl get namespaces' and verify that each team, and each environment, has its own namespaces.",
            "namespace-boundaries",
        ),
        source=f"{_KUBERNETES}/concepts/security/multi-tenancy.md",
    ),
    _row(
        id="pods-seccomp",
        numbers=numbered("5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.6.2M 5.6.2M 5.6.2M 5.6.2M"),
        title="Pods have a seccomp profile",
        why=(
            "Without one a container can make every system call, including those that few programs need and many"
            " attacks use."
        ),
        check=ClusterCheck(
            _find("pods without 'seccompProfile', or with 'type: Unconfined'", _BY_ADMISSION), "pods-seccomp"
        ),
        source=f"{_KUBERNETES}/tutorials/security/seccomp.md",
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        id="pods-security-context",
        numbers=numbered("5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.6.3M 5.6.3M 5.6.3M 5.6.3M"),
        title="Pods and containers have a security context",
        why=(
            "It defines the user and the rights of a program. Fields without a value have the runtime's permissive"
            " default."
        ),
        check=ClusterCheck(
            "Find pods with an empty securityContext in 'kubectl get pods -A -o yaml'. If the API server reads the"
            " guide's psa.yaml, 'restricted' is the default, which requires most of its fields.",
            "pods-security-context",
        ),
        source=f"{_KUBERNETES}/tasks/configure-pod-container/security-context.md",
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        id="default-namespace",
        numbers=numbered("5.7.4M 5.7.4M 5.7.4u 5.7.4u 5.7.4u 5.7.4M 5.6.4M 5.6.4M 5.6.4M 5.6.4M"),
        title="The namespace default is not used",
        why="Resources without a namespace are created there, and all of them share the same rights and policies.",
        check=ClusterCheck(
            "Run 'kubectl get all -n default': the Service kubernetes is the only expected resource.",
            "default-namespace",
        ),
        source=f"{_KUBERNETES}/concepts/overview/working-with-objects/namespaces.md",
        level=2,
    ),
)

MANUAL: tuple[BenchmarkControl, ...] = (*_USERS, *_KUBELET, *_ACCESS, *_PODS, *_NETWORK, *_DATA)
"""In the benchmarks' order."""
