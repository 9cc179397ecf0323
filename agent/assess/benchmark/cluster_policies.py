"""Controls about rights in the cluster and workloads: sections 3.1 and 5, and single controls of 3.2 and 4.2.

Objects of the cluster decide most of them by the rule with their ID. Beside the other texts, the table has what a
person reviews: a sentence (`review`), a right of roles (`right`), or what the Pod Security standard forbids in pods
(`forbidden`), which PodSecurityPolicies do not forbid in older versions (`forbidden since 1.25`).
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control, rows_of
from agent.assess.checks.check import Manual
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.assess.checks.policy_checks import AuditCoverage
from agent.harden.guide.controls import DEFAULT_SERVICE_ACCOUNTS
from agent.harden.guide.guide_files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.k3s.roles_and_versions import EVERYWHERE, ON_SERVERS

_OF_THE_NODE = {
    "users-without-client-certificates": Manual,
    "audit-policy-coverage": AuditCoverage,
    "kubelet-ip-address-deny": Manual,
}
"""The checks of the controls that no object of the cluster is about."""
_ON_EACH_NODE = "kubelet-ip-address-deny"
_GUIDE = {
    "audit-policy-coverage": AUDIT_POLICY,
    "default-service-accounts": DEFAULT_SERVICE_ACCOUNTS,
    "pod-policy-mechanism": POD_SECURITY_ADMISSION,
    "namespaces-network-policies": NETWORK_POLICIES,
    "pods-security-context": POD_SECURITY_ADMISSION,
}
"""By control that of the guide; those of what is forbidden in pods have that of Pod Security."""

_BY_ADMISSION = "if the API server reads the guide's psa.yaml, that is 'restricted', which rejects it"
_FORBIDDEN = {
    "forbidden": f"{_BY_ADMISSION}, as the guide's PodSecurityPolicies do up to v1.24",
    "forbidden since 1.25": _BY_ADMISSION,
}


def _control(row: Mapping[str, str]) -> BenchmarkControl:
    name = row["control"]
    guide, review = _GUIDE.get(name), row.get("review", "")
    if "right" in row:
        review = (
            f"Find roles with {row['right']} in 'kubectl describe clusterroles,roles -A', and review with 'kubectl get"
            " clusterrolebindings,rolebindings -A -o wide' who has them."
        )
    for column in row.keys() & _FORBIDDEN:
        guide = POD_SECURITY_ADMISSION
        review = (
            f"Find {row[column]} in 'kubectl get pods -A -o yaml', and review in 'kubectl get namespaces --show-labels'"
            f" which namespaces have a weaker Pod Security standard than the default: {_FORBIDDEN[column]}."
        )
    check = _OF_THE_NODE[name](review) if name in _OF_THE_NODE else ClusterCheck(review, name)
    return benchmark_control(name, check, applies=EVERYWHERE if name == _ON_EACH_NODE else ON_SERVERS, guide=guide)


MANUAL: tuple[BenchmarkControl, ...] = tuple(map(_control, rows_of("cluster_policies").values()))
"""In the benchmarks' order."""
