"""What RKE2's profile `cis` sets and checks, against the rows of the guide. Each difference has its reason.

Read from rancher/rke2 at 6ce1a801: bundle/share/rke2/rke2-cis-sysctl.conf, pkg/cli/cmds/profile_linux.go,
pkg/executor/staticpod/staticpod.go, pkg/rke2/np.go, psa.go, rke2.go and serviceaccount.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from agent.harden.guide import manifests
from agent.harden.guide.k3s_options import OPTIONS
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NEWEST_KNOWN, Role

KERNEL_PARAMETERS = {
    "vm.panic_on_oom": "0",
    "vm.overcommit_memory": "1",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
}
"""RKE2 writes them, compares them at each start, and exits at another value."""

ARGUMENTS = {
    "service-account-extend-token-expiration": "false",
    "audit-log-maxage": "30",
    "audit-log-maxbackup": "10",
    "audit-log-maxsize": "100",
    "audit-log-path": "/var/lib/rancher/rke2/server/logs/audit.log",
    "terminated-pod-gc-threshold": "1000",
}
OPTIONS_OF_RKE2 = {"secrets-encryption": "true", "protect-kernel-defaults": "true"}
REASONS = {
    "audit-log-path": "RKE2 has another data directory",
    "terminated-pod-gc-threshold": "K3s' own guide has 100, with which fewer terminated pods remain",
}

POD_SECURITY = {
    "kind": "PodSecurityConfiguration",
    "defaults": {
        f"{mode}{suffix}": value
        for mode in ("enforce", "audit", "warn")
        for suffix, value in (("", "restricted"), ("-version", "latest"))
    },
}
EXEMPT_NAMESPACES = {"kube-system", "compliance-operator-system", "tigera-operator"}
NAMESPACES = ("kube-system", "default", "kube-public")
"""Each has a NetworkPolicy that admits the traffic inside it."""


def test_rke2_checks_the_kernel_parameters_that_are_written() -> None:
    """The kubelet compares two more, which are verified only: they are the kernel's defaults."""
    assert {row.key: row.value for row in SYSCTLS if row.written} == KERNEL_PARAMETERS


def own_values() -> Iterator[tuple[str, str]]:
    for row in OPTIONS:
        if row.applies.to(Role.SERVER, NEWEST_KNOWN):
            yield row.name or row.key, row.text(DEFAULT_DATA_DIR)


def test_other_values_than_those_of_rke2_have_a_reason() -> None:
    own, theirs = dict(own_values()), ARGUMENTS | OPTIONS_OF_RKE2
    assert {name for name, value in theirs.items() if own.get(name) != value} == set(REASONS)


def pod_security() -> dict[str, Any]:
    text = manifests.pod_security_admission(manifests.exempt_namespaces(NEWEST_KNOWN), [])
    (plugin,) = yaml.safe_load(text)["plugins"]
    assert plugin["name"] == "PodSecurity"
    found: dict[str, Any] = plugin["configuration"]
    return found


def test_pod_security_has_the_levels_of_rke2() -> None:
    """RKE2 has the same configuration in v1beta1."""
    own = pod_security()
    assert {key: own[key] for key in POD_SECURITY} == POD_SECURITY
    assert (own["exemptions"]["usernames"], own["exemptions"]["runtimeClasses"]) == ([], [])


def test_the_namespaces_that_rke2_exempts_are_exempt() -> None:
    """Rancher's samples, which the rows follow, exempt more."""
    assert set(pod_security()["exemptions"]["namespaces"]) > EXEMPT_NAMESPACES


def test_the_network_policies_protect_the_namespaces_of_rke2() -> None:
    """RKE2 selects all pods of the same namespace; the guide selects the namespace, which are the same pods."""
    found = [
        policy for policy in yaml.safe_load_all(manifests.network_policies()) if policy["spec"]["podSelector"] == {}
    ]
    allowed = {
        policy["metadata"]["namespace"]: policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]
        for policy in found
    }
    assert allowed == {name: {"kubernetes.io/metadata.name": name} for name in NAMESPACES}


def test_dns_is_open_to_all_as_in_rke2() -> None:
    (dns,) = (
        policy["spec"]
        for policy in yaml.safe_load_all(manifests.network_policies())
        if policy["metadata"]["name"] == "default-network-dns-policy"
    )
    assert dns["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert dns["ingress"] == [{"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}]
