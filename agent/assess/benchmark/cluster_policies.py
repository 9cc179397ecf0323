"""Controls that require manual review: rights in the cluster, and workloads.

Sections 3.1 and 5, and single controls of 3.2 and 4.2. Each row describes what to review.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.audit_coverage import AuditCoverage
from agent.assess.checks.cluster.check import ClusterCheck
from agent.assess.checks.manual import Manual
from agent.base.model import EVERYWHERE, ON_SERVERS
from agent.harden.guide.controls import DEFAULT_SERVICE_ACCOUNTS
from agent.harden.guide.files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION

if TYPE_CHECKING:
    from agent.harden.guide.control import GuideControl


_manual = partial(benchmark_control, applies=ON_SERVERS)


def _row(identifier: str, review: str, guide: GuideControl | None = None) -> BenchmarkControl:
    """Return a control that the objects of the cluster decide, by the rule with its ID."""
    return _manual(identifier, ClusterCheck(review, identifier), guide=guide)


_ROLES = "'kubectl describe clusterroles,roles -A'"


def _rule(what: str) -> str:
    return (
        f"Find roles with {what} in {_ROLES}, and review with 'kubectl get clusterrolebindings,rolebindings -A -o wide'"
    )


_BY_ADMISSION = "if the API server reads the guide's psa.yaml, that is 'restricted', which rejects it"
_BY_BOTH = f"{_BY_ADMISSION}, as the guide's PodSecurityPolicies do up to v1.24"


def _find(field: str, by: str = _BY_BOTH) -> str:
    return (
        f"Find {field} in 'kubectl get pods -A -o yaml', and review in 'kubectl get namespaces --show-labels' which"
        f" namespaces have a weaker Pod Security standard than the default: {by}."
    )


_pods = partial(_row, guide=POD_SECURITY_ADMISSION)

MANUAL: tuple[BenchmarkControl, ...] = (
    # Users, and the audit policy
    _manual(
        "users-without-client-certificates",
        Manual(
            "Find out who uses a kubeconfig with client-certificate-data, such as a copy of /etc/rancher/k3s/k3s.yaml,"
            " and whether users log in with OIDC or another authenticator instead."
        ),
    ),
    _row(
        "users-without-service-account-tokens",
        "Run 'kubectl get secrets -A --field-selector type=kubernetes.io/service-account-token' and find out for"
        " each token, and each one from 'kubectl create token', whether a user logs in with it.",
    ),
    _row(
        "users-without-bootstrap-tokens",
        "Run 'k3s token list', find out the purpose of each token, and let it expire after its nodes have joined.",
    ),
    _manual(
        "audit-policy-coverage",
        AuditCoverage(
            "Read the file that audit-policy-file names, and verify that it logs access to Secrets, ConfigMaps and"
            " token reviews, changes to workloads, and exec, attach, port-forward and proxy. The guide's audit.yaml"
            " logs the metadata of every request."
        ),
        guide=AUDIT_POLICY,
    ),
    # The kubelet
    _manual(
        "kubelet-ip-address-deny",
        Manual(
            "Run 'systemctl show --property=IPAddressDeny,IPAddressAllow k3s k3s-agent', and review the host's"
            " firewall. On K3s the restriction applies to everything that K3s serves, including its API server."
        ),
        applies=EVERYWHERE,
    ),
    # Rights
    _row(
        "rbac-cluster-admin",
        "Run 'kubectl get clusterrolebindings -o wide' and review who has ClusterRole/cluster-admin. On K3s the"
        " group system:masters and the two jobs that install Traefik need it.",
    ),
    _row("rbac-secrets", f"{_rule('get, list or watch on secrets')} who has them."),
    _row(
        "rbac-wildcards",
        f"Find '*' in {_ROLES}. On every K3s, cluster-admin, some system: roles, k3s-cloud-controller-manager and"
        " local-path-provisioner-role have it.",
    ),
    _row("rbac-create-pods", f"{_rule('create on pods or on resources that create pods, such as jobs')} who has them."),
    _row(
        DEFAULT_SERVICE_ACCOUNTS.id,
        "Run 'kubectl get serviceaccounts -A --field-selector metadata.name=default -o"
        " custom-columns=NAMESPACE:.metadata.namespace,TOKEN:.automountServiceAccountToken': all except"
        " kube-system's must show false. 'k3s-harden service-accounts' sets it.",
        guide=DEFAULT_SERVICE_ACCOUNTS,
    ),
    _row(
        "service-account-token-mounts",
        "Run 'kubectl get pods -A -o"
        " custom-columns=NAMESPACE:.metadata.namespace,POD:.metadata.name,"
        "ACCOUNT:.spec.serviceAccountName,TOKEN:.spec.automountServiceAccountToken'"
        " and find out for each pod that does not show false whether it uses the API server. On K3s CoreDNS,"
        " Traefik, metrics-server and local-path do.",
    ),
    _row(
        "rbac-system-masters",
        "Find out who has a copy of K3s' admin kubeconfig, /etc/rancher/k3s/k3s.yaml, whose certificate is in the"
        " group, and whether other certificates with O=system:masters exist.",
    ),
    _row("rbac-bind-impersonate-escalate", f"{_rule('the verbs bind, impersonate or escalate')} who has them."),
    _row("rbac-persistent-volumes", f"{_rule('create on persistentvolumes')} who has them."),
    _row("rbac-nodes-proxy", f"{_rule('nodes/proxy')} who has them."),
    _row("rbac-csr-approval", f"{_rule('update on certificatesigningrequests/approval')} who has them."),
    _row(
        "rbac-webhooks",
        f"{_rule('create or update on validatingwebhookconfigurations or mutatingwebhookconfigurations')} who has"
        " them.",
    ),
    _row("rbac-token-creation", f"{_rule('create on serviceaccounts/token')} who has them."),
    _row(
        "rbac-kubelet-subresources",
        f"{_rule('nodes/proxy')} which accounts only read, so that a finer subresource is sufficient.",
    ),
    # Pods
    _pods(
        "pod-policy-mechanism",
        "Run 'kubectl get namespaces --show-labels' and verify that no namespace with workloads has the standard"
        " 'privileged' or is exempt. If the API server reads the guide's psa.yaml, 'restricted' is the default for"
        " the others. `k3s-harden check` reports another file that is weaker. Up to v1.24, the guide's"
        " PodSecurityPolicies apply.",
    ),
    _pods("pods-privileged", _find("'privileged: true'")),
    _pods("pods-host-pid", _find("'hostPID: true'")),
    _pods("pods-host-ipc", _find("'hostIPC: true'")),
    _pods("pods-host-network", _find("'hostNetwork: true'")),
    _pods("pods-privilege-escalation", _find("containers without 'allowPrivilegeEscalation: false'")),
    _pods("pods-root", _find("pods without 'runAsNonRoot: true'")),
    _pods("pods-net-raw", _find("containers that drop neither ALL nor NET_RAW")),
    _pods("pods-added-capabilities", _find("'capabilities' with 'add'")),
    _pods("pods-assigned-capabilities", _find("containers that do not drop ALL capabilities")),
    _pods("pods-windows-host-process", _find("'hostProcess: true'", _BY_ADMISSION)),
    _pods("pods-host-path", _find("volumes with 'hostPath'")),
    _pods("pods-host-ports", _find("'hostPort'")),
    _pods("pods-proc-mount", _find("'procMount: Unmasked'")),
    # Networks
    _row(
        "cni-network-policies",
        "Find 'disable-network-policy' and 'flannel-backend: none' in K3s' configuration. K3s' controller enforces"
        " NetworkPolicies unless the first is set; then another CNI must enforce them.",
    ),
    _row(
        "namespaces-network-policies",
        "Compare 'kubectl get networkpolicies -A' with 'kubectl get namespaces': the guide's policy.yaml contains"
        " those of kube-system, default and kube-public, and each other namespace needs its own.",
        guide=NETWORK_POLICIES,
    ),
    # Secrets, images and namespaces
    _row("secrets-as-files", "Find secretKeyRef and secretRef in 'kubectl get pods -A -o yaml'."),
    _row(
        "external-secret-storage",
        "Find out which secrets require frequent rotation or access logs, and whether a store outside the cluster"
        " provides them.",
    ),
    _row(
        "image-provenance",
        "Find ImagePolicyWebhook in the file that admission-control-config-file names, and a policy engine that"
        " verifies image signatures in 'kubectl get"
        " validatingwebhookconfigurations,mutatingwebhookconfigurations'.",
    ),
    _row(
        "namespace-boundaries",
        "Run 'kubectl get namespaces' and verify that each team, and each environment, has its own namespaces.",
    ),
    _row(
        "pods-seccomp",
        _find("pods without 'seccompProfile', or with 'type: Unconfined'", _BY_ADMISSION),
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "pods-security-context",
        "Find pods with an empty securityContext in 'kubectl get pods -A -o yaml'. If the API server reads the"
        " guide's psa.yaml, 'restricted' is the default, which requires most of its fields.",
        guide=POD_SECURITY_ADMISSION,
    ),
    _row(
        "default-namespace", "Run 'kubectl get all -n default': the Service kubernetes is the only expected resource."
    ),
)
"""In the benchmarks' order."""
