"""What the benchmarks ask that no look at a host can tell: who may do what in the cluster, and what runs in it.

Sections 3.1 and 5, and single controls of 3.2 and 4.2. Each says what a person has to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.benchmark.control import BenchmarkControl, numbered
from agent.checks.manual import Manual
from agent.guide.controls import DEFAULT_SERVICE_ACCOUNTS
from agent.guide.files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.model import BOTH_ROLES, SERVERS, Applies

if TYPE_CHECKING:
    from agent.guide.control import Control
    from agent.model import Role

_KUBERNETES = "kubernetes/website content/en/docs"
_AUTHENTICATION = f"{_KUBERNETES}/reference/access-authn-authz/authentication.md"
_RBAC = f"{_KUBERNETES}/concepts/security/rbac-good-practices.md"
_STANDARDS = f"{_KUBERNETES}/concepts/security/pod-security-standards.md"
_SECRETS = f"{_KUBERNETES}/concepts/security/secrets-good-practices.md"
_HARDENING = "k3s-io/docs docs/security/hardening-guide.md"


def _row(  # noqa: PLR0913 - a row is this wide, and the calls name its fields
    identifier: str,
    numbers: str,
    *,
    title: str,
    why: str,
    look: str,
    source: str,
    level: int = 1,
    roles: frozenset[Role] = SERVERS,
    guide: Control | None = None,
) -> BenchmarkControl:
    return BenchmarkControl(
        id=identifier,
        title=title,
        numbers=numbered(numbers),
        level=level,
        applies=Applies(roles),
        check=Manual(look),
        why=why,
        guide=guide,
        source=source,
    )


_USERS: tuple[BenchmarkControl, ...] = (
    _row(
        "users-without-client-certificates",
        "3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M 3.1.1M",
        title="People do not log in with client certificates",
        why=(
            "Kubernetes cannot revoke a certificate: one that was stolen, or whose owner has left, opens the cluster"
            " until it expires."
        ),
        look=(
            "Ask who uses a kubeconfig with client-certificate-data, such as a copy of /etc/rancher/k3s/k3s.yaml, and"
            " whether people log in with OIDC or another authenticator instead."
        ),
        source=_AUTHENTICATION,
    ),
    _row(
        "users-without-service-account-tokens",
        "- - 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M 3.1.2M",
        title="People do not log in with service accounts' tokens",
        why=(
            "A service account belongs to a workload: the audit log then does not show the person behind it, and a"
            " token that is kept in a Secret never expires."
        ),
        look=(
            "Run 'kubectl get secrets -A --field-selector type=kubernetes.io/service-account-token' and ask for each"
            " token, and each made with 'kubectl create token', whether a person uses it."
        ),
        source=_AUTHENTICATION,
    ),
    _row(
        "users-without-bootstrap-tokens",
        "- - 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M 3.1.3M",
        title="People do not log in with bootstrap tokens",
        why="A bootstrap token is meant for joining nodes; many people may know it, and it does not show who uses it.",
        look=("Run 'k3s token list' and ask for each token what it is for; let it expire once its nodes have joined."),
        source=_AUTHENTICATION,
    ),
    _row(
        "audit-policy-coverage",
        "3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M 3.2.2M",
        title="The audit policy covers what matters for security",
        why=(
            "What the policy leaves out cannot be found out later: who read a secret, opened a shell in a pod, or"
            " issued a token."
        ),
        look=(
            "Read the file that audit-policy-file names, and check that access to secrets, configmaps and token"
            " reviews, changes to workloads, and exec, attach, port-forward and proxy are logged: the guide's"
            " audit.yaml logs the metadata of every request."
        ),
        source=_HARDENING,
        level=2,
        guide=AUDIT_POLICY,
    ),
)

_KUBELET: tuple[BenchmarkControl, ...] = (
    _row(
        "kubelet-ip-address-deny",
        "- - - - - - 4.2.15M - - -",
        title="systemd lets only known addresses reach the kubelet",
        why=(
            "Nobody can attack a kubelet that they cannot reach. systemd can refuse all addresses except those of the"
            " cluster, as a firewall can; the kubelet itself has no such argument."
        ),
        look=(
            "Run 'systemctl show --property=IPAddressDeny,IPAddressAllow k3s k3s-agent', and look at the host's"
            " firewall: on K3s the restriction applies to everything that K3s serves, its API server included."
        ),
        source="systemd/systemd man/systemd.resource-control.xml",
        level=2,
        roles=BOTH_ROLES,
    ),
)

_ROLES = "'kubectl describe clusterroles,roles -A'"


def _rule(what: str) -> str:
    return (
        f"Look in {_ROLES} for roles with {what}, and check with 'kubectl get clusterrolebindings,rolebindings -A -o"
        " wide'"
    )


_ACCESS: tuple[BenchmarkControl, ...] = (
    _row(
        "rbac-cluster-admin",
        "5.1.1M 5.1.1M 5.1.1M 5.1.1M 5.1.1A 5.1.1A 5.1.1M 5.1.1M 5.1.1M 5.1.1M",
        title="Only those who need to be are cluster administrators",
        why="cluster-admin may do everything in all namespaces; everyone who has it is one more way in.",
        look=(
            "Run 'kubectl get clusterrolebindings -o wide' and check who has ClusterRole/cluster-admin: on K3s the"
            " group system:masters and the two jobs that install Traefik need it."
        ),
        source=_RBAC,
    ),
    _row(
        "rbac-secrets",
        "5.1.2M 5.1.2M 5.1.2M 5.1.2M 5.1.2M 5.1.2A 5.1.2M 5.1.2M 5.1.2M 5.1.2M",
        title="Few may read secrets",
        why=(
            "A secret is often the key to another system, or the token of a stronger account; being able to list"
            " secrets is as good as being able to read them."
        ),
        look=f"{_rule('get, list or watch on secrets')} who has them.",
        source=_RBAC,
    ),
    _row(
        "rbac-wildcards",
        "5.1.3M 5.1.3M 5.1.3M 5.1.3M 5.1.3A 5.1.3A 5.1.3M 5.1.3M 5.1.3M 5.1.3M",
        title="Roles name what they allow, without wildcards",
        why="A wildcard also allows what does not exist yet, such as the next kind of object that an add-on brings.",
        look=(
            f"Look in {_ROLES} for '*': cluster-admin, some system: roles, k3s-cloud-controller-manager and"
            " local-path-provisioner-role have it on any K3s."
        ),
        source=_RBAC,
    ),
    _row(
        "rbac-create-pods",
        "5.1.4M 5.1.4M 5.1.4M 5.1.4M 5.1.4M 5.1.4A 5.1.4M 5.1.4M 5.1.4M 5.1.4M",
        title="Few may create pods",
        why=(
            "Anyone who can create a pod can mount any secret of its namespace and use any of its service accounts,"
            " and the host itself where no policy forbids it."
        ),
        look=f"{_rule('create on pods or on what makes pods, such as deployments and jobs')} who has them.",
        source=_RBAC,
    ),
    _row(
        DEFAULT_SERVICE_ACCOUNTS.id,
        "5.1.5M 5.1.5M 5.1.5M 5.1.5M 5.1.5A 5.1.5A 5.1.5M 5.1.5M 5.1.5M 5.1.5M",
        title=DEFAULT_SERVICE_ACCOUNTS.title,
        why=DEFAULT_SERVICE_ACCOUNTS.why,
        look=(
            "Run 'kubectl get serviceaccounts -A --field-selector metadata.name=default -o"
            " custom-columns=NAMESPACE:.metadata.namespace,TOKEN:.automountServiceAccountToken': all except"
            " kube-system's have to show false, and 'k3s-harden service-accounts' sets it."
        ),
        source=_HARDENING,
        guide=DEFAULT_SERVICE_ACCOUNTS,
    ),
    _row(
        "service-account-token-mounts",
        "5.1.6M 5.1.6M 5.1.6M 5.1.6M 5.1.6A 5.1.6A 5.1.6M 5.1.6M 5.1.6M 5.1.6M",
        title="Only pods that need it get a service account's token",
        why=(
            "Anyone who breaks into a pod has its token, and with it everything that its account may do in the cluster."
        ),
        look=(
            "Run 'kubectl get pods -A -o custom-columns=NAMESPACE:.metadata.namespace,POD:.metadata.name,"
            "ACCOUNT:.spec.serviceAccountName,TOKEN:.spec.automountServiceAccountToken' and ask for each pod that does"
            " not show false whether it talks to the API server: on K3s CoreDNS, Traefik, metrics-server and local-path"
            " do."
        ),
        source=_RBAC,
    ),
    _row(
        "rbac-system-masters",
        "5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M 5.1.7M",
        title="Nobody is in the group system:masters for daily work",
        why="The group is allowed everything before RBAC is asked, so no change of roles can take that away.",
        look=(
            "Ask who has a copy of K3s' admin kubeconfig, /etc/rancher/k3s/k3s.yaml, whose certificate is in the"
            " group, and whether other certificates with O=system:masters were issued."
        ),
        source=_RBAC,
    ),
    _row(
        "rbac-bind-impersonate-escalate",
        "5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M 5.1.8M",
        title="Few may bind, impersonate or escalate",
        why=(
            "Each of the three verbs leads to more rights than one has: by granting them, or by acting as somebody"
            " else."
        ),
        look=f"{_rule('the verbs bind, impersonate or escalate')} who has them.",
        source=_RBAC,
    ),
    _row(
        "rbac-persistent-volumes",
        "- - 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M 5.1.9M",
        title="Few may create PersistentVolumes",
        why=(
            "A PersistentVolume can be any directory of a host, and so gives access to its files past every policy on"
            " pods."
        ),
        look=f"{_rule('create on persistentvolumes')} who has them.",
        source=_RBAC,
    ),
    _row(
        "rbac-nodes-proxy",
        "- - 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M 5.1.10M",
        title="Few may reach the kubelet through nodes/proxy",
        why=(
            "It allows everything that the kubelet can do, commands in any pod of the node included. A request that"
            " goes to the kubelet itself, past the API server, is seen by no audit log and no admission plugin."
        ),
        look=f"{_rule('nodes/proxy')} who has them.",
        source=_RBAC,
    ),
    _row(
        "rbac-csr-approval",
        "- - 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M 5.1.11M",
        title="Few may approve certificate signing requests",
        why="Anyone who can approve a request can make a certificate for any user or node, and nobody can revoke it.",
        look=f"{_rule('update on certificatesigningrequests/approval')} who has them.",
        source=_RBAC,
    ),
    _row(
        "rbac-webhooks",
        "- - 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M 5.1.12M",
        title="Few may change admission webhooks",
        why="A webhook sees every object that it is called for, secrets included, and a mutating one can change it.",
        look=(
            f"{_rule('create or update on validatingwebhookconfigurations or mutatingwebhookconfigurations')}"
            " who has them."
        ),
        source=_RBAC,
    ),
    _row(
        "rbac-token-creation",
        "- - 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M 5.1.13M",
        title="Few may create tokens of service accounts",
        why=(
            "Anyone who can create a token for an account has all rights of that account for as long as the token"
            " lasts."
        ),
        look=f"{_rule('create on serviceaccounts/token')} who has them.",
        source=_RBAC,
    ),
    _row(
        "rbac-kubelet-subresources",
        "- - - - - - - - - 5.1.14M",
        title="Those who only read from the kubelet may do no more than that",
        why=(
            "nodes/proxy allows everything that the kubelet can do. What only collects health, metrics or the list of"
            " pods needs no more than nodes/healthz, nodes/metrics or nodes/pods."
        ),
        look=f"{_rule('nodes/proxy')} which of those that have them only read, so that a finer subresource would do.",
        source=f"{_KUBERNETES}/reference/access-authn-authz/kubelet-authn-authz.md",
    ),
)

_BY_BOTH = (
    "the guide's psa.yaml makes 'restricted' the default, which refuses it, as its PodSecurityPolicies do up to v1.24"
)
_BY_ADMISSION = "the guide's psa.yaml makes 'restricted' the default, which refuses it"


def _pods(field: str, by: str = _BY_BOTH) -> str:
    return (
        f"Look for {field} in 'kubectl get pods -A -o yaml', and check in 'kubectl get namespaces --show-labels' which"
        f" namespaces have a weaker Pod Security standard than the default: {by}."
    )


_PODS: tuple[BenchmarkControl, ...] = (
    _row(
        "pod-policy-mechanism",
        "5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M 5.2.1M",
        title="Something decides which pods are admitted",
        why="Without it, anyone who may create a pod can also take over the node that it runs on.",
        look=(
            "Run 'kubectl get namespaces --show-labels' and check that no namespace with workloads has the standard"
            " 'privileged' or is exempt: the guide's psa.yaml makes 'restricted' the default for the others, as its"
            " PodSecurityPolicies do up to v1.24."
        ),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-privileged",
        "5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M 5.2.2M",
        title="Privileged containers are not admitted",
        why="A privileged container has all devices of the host and all rights of its root.",
        look=_pods("'privileged: true'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-host-pid",
        "5.2.3M 5.2.3M 5.2.3u 5.2.3u 5.2.3M 5.2.3M 5.2.3M 5.2.3M 5.2.3M 5.2.3M",
        title="Pods with the host's process IDs are not admitted",
        why="Such a pod sees all processes of the host with their environment, and can send them signals.",
        look=_pods("'hostPID: true'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-host-ipc",
        "5.2.4M 5.2.4M 5.2.4u 5.2.4u 5.2.4M 5.2.4M 5.2.4M 5.2.4M 5.2.4M 5.2.4M",
        title="Pods with the host's IPC are not admitted",
        why="Such a pod can read and change the shared memory of the host's processes.",
        look=_pods("'hostIPC: true'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-host-network",
        "5.2.5M 5.2.5M 5.2.5u 5.2.5u 5.2.5M 5.2.5M 5.2.5M 5.2.5M 5.2.5M 5.2.5M",
        title="Pods on the host's network are not admitted",
        why=(
            "Such a pod can reach what listens on the host alone and read the traffic of other pods, and no"
            " NetworkPolicy applies to it."
        ),
        look=_pods("'hostNetwork: true'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-privilege-escalation",
        "5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M 5.2.6M",
        title="Containers that can gain privileges are not admitted",
        why="Through a setuid program in its image, a process in such a container can become root.",
        look=_pods("containers without 'allowPrivilegeEscalation: false'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-root",
        "5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M 5.2.7M",
        title="Containers that run as root are not admitted",
        why="To the kernel, root in a container is root on the host: one fault in the isolation is enough.",
        look=_pods("pods without 'runAsNonRoot: true'"),
        source=_STANDARDS,
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-net-raw",
        "5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M 5.2.8M",
        title="Containers with NET_RAW are not admitted",
        why=(
            "With raw sockets, which container runtimes grant by default, a pod can impersonate another on the network."
        ),
        look=_pods("containers that drop neither ALL nor NET_RAW"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-added-capabilities",
        "5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M 5.2.9M - - -",
        title="Containers that add capabilities are not admitted",
        why="Some capabilities, such as SYS_ADMIN, come close to everything that root may do.",
        look=_pods("'capabilities' with 'add'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-assigned-capabilities",
        "5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.10M 5.2.9M 5.2.9M 5.2.9M",
        title="Containers that keep capabilities are not admitted",
        why=(
            "Hardly any program needs those that a container runtime grants by default; each helps an attacker further."
        ),
        look=_pods("containers that do not drop ALL capabilities"),
        source=_STANDARDS,
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-windows-host-process",
        "5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.11M 5.2.10M 5.2.10M 5.2.10M",
        title="Windows HostProcess containers are not admitted",
        why="Such a container has full access to its Windows node.",
        look=_pods("'hostProcess: true'", _BY_ADMISSION),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-host-path",
        "5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.12M 5.2.11M 5.2.11M 5.2.11M",
        title="Pods with directories of the host are not admitted",
        why=(
            "Such a pod can read, and perhaps write, files of the host, among them K3s' keys and its container"
            " runtime's socket."
        ),
        look=_pods("volumes with 'hostPath'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-host-ports",
        "5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.13M 5.2.12M 5.2.12M 5.2.12M",
        title="Containers with ports of the host are not admitted",
        why="A port of the host can be reached from outside past Services, and often past NetworkPolicies.",
        look=_pods("'hostPort'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-proc-mount",
        "- - - - - - - - - 5.2.13M",
        title="Containers with an unmasked /proc are not admitted",
        why=(
            "The runtime hides the parts of /proc that reveal or change the state of the host's kernel; 'Unmasked'"
            " shows them to the container again."
        ),
        look=_pods("'procMount: Unmasked'"),
        source=_STANDARDS,
        guide=POD_SECURITY_ADMISSION,
    ),
)

_NETWORK: tuple[BenchmarkControl, ...] = (
    _row(
        "cni-network-policies",
        "5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M 5.3.1M",
        title="NetworkPolicies are enforced",
        why="Where nothing enforces them, NetworkPolicies are accepted but have no effect, and nobody is told.",
        look=(
            "Look in K3s' configuration for 'disable-network-policy' and for 'flannel-backend: none': K3s' own"
            " controller enforces NetworkPolicies unless the first is set; where it is, another CNI has to."
        ),
        source="k3s-io/k3s pkg/agent/netpol/netpol.go",
    ),
    _row(
        "namespaces-network-policies",
        "5.3.2M 5.3.2M 5.3.2u 5.3.2u 5.3.2u 5.3.2M 5.3.2M 5.3.2M 5.3.2M 5.3.2M",
        title="All namespaces have NetworkPolicies",
        why="Without one, every pod may connect to every other: an attacker in one can reach all the rest.",
        look=(
            "Compare 'kubectl get networkpolicies -A' with 'kubectl get namespaces': the guide's policy.yaml has those"
            " of kube-system, default and kube-public, and each namespace of yours needs its own."
        ),
        source=_HARDENING,
        level=2,
        guide=NETWORK_POLICIES,
    ),
)

_DATA: tuple[BenchmarkControl, ...] = (
    _row(
        "secrets-as-files",
        "5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M 5.4.1M",
        title="Secrets reach programs as files, not as environment variables",
        why="A program's environment ends up in logs, in crash reports and in the programs that it starts.",
        look="Look for secretKeyRef and secretRef in 'kubectl get pods -A -o yaml'.",
        source=_SECRETS,
        level=2,
    ),
    _row(
        "external-secret-storage",
        "5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M 5.4.2M",
        title="Secrets with higher needs are kept outside the cluster",
        why="A store made for secrets logs who reads which, rotates them by itself, and outlives the cluster.",
        look=(
            "Ask which secrets have to be rotated often or accounted for, and whether a store outside the cluster"
            " hands them out."
        ),
        source=_SECRETS,
        level=2,
    ),
    _row(
        "image-provenance",
        "5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M 5.5.1M",
        title="Only images of known origin are admitted",
        why="Otherwise anyone who gets hold of a registry, or of a lookalike name, can run programs in the cluster.",
        look=(
            "Look in the file that admission-control-config-file names for ImagePolicyWebhook, and in 'kubectl get"
            " validatingwebhookconfigurations,mutatingwebhookconfigurations' for a policy engine that checks signatures"
            " of images."
        ),
        source=f"{_KUBERNETES}/reference/access-authn-authz/admission-controllers.md",
        level=2,
    ),
    _row(
        "namespace-boundaries",
        "5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.7.1M 5.6.1M 5.6.1M 5.6.1M 5.6.1M",
        title="Namespaces separate what belongs to different people",
        why=(
            "Roles, quotas, NetworkPolicies and Pod Security all apply to a namespace: what shares the namespace"
            " shares them."
        ),
        look="Run 'kubectl get namespaces' and ask whether each team, and each environment, has namespaces of its own.",
        source=f"{_KUBERNETES}/concepts/security/multi-tenancy.md",
    ),
    _row(
        "pods-seccomp",
        "5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.7.2M 5.6.2M 5.6.2M 5.6.2M 5.6.2M",
        title="Pods have a seccomp profile",
        why=(
            "Without one a container can make every system call, those included that hardly any program needs and"
            " attacks use."
        ),
        look=_pods("pods without 'seccompProfile', or with 'type: Unconfined'", _BY_ADMISSION),
        source=f"{_KUBERNETES}/tutorials/security/seccomp.md",
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-security-context",
        "5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.7.3M 5.6.3M 5.6.3M 5.6.3M 5.6.3M",
        title="Pods and containers have a security context",
        why=(
            "It says as which user a program runs and what it may do; what it leaves out has the runtime's generous"
            " default."
        ),
        look=(
            "Look in 'kubectl get pods -A -o yaml' for pods whose securityContext is empty: the guide's psa.yaml makes"
            " 'restricted' the default, which requires most of its fields."
        ),
        source=f"{_KUBERNETES}/tasks/configure-pod-container/security-context.md",
        level=2,
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "default-namespace",
        "5.7.4M 5.7.4M 5.7.4u 5.7.4u 5.7.4u 5.7.4M 5.6.4M 5.6.4M 5.6.4M 5.6.4M",
        title="Nothing runs in the namespace default",
        why=(
            "What lands there has named no namespace, and shares rights and policies with everything else that did not."
        ),
        look="Run 'kubectl get all -n default': the Service kubernetes is the only thing that belongs there.",
        source=f"{_KUBERNETES}/concepts/overview/working-with-objects/namespaces.md",
        level=2,
    ),
)

MANUAL: tuple[BenchmarkControl, ...] = (*_USERS, *_KUBELET, *_ACCESS, *_PODS, *_NETWORK, *_DATA)
"""In the benchmarks' order."""
