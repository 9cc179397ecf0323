"""NetworkPolicies of the API and of manifests: what they restrict, and which rules allow all sources."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base import yaml_reader
from agent.cluster.kubernetes.network_policies import NetworkPolicy, parse_policy
from agent.cluster.kubernetes.objects import selects


def policy(spec: str) -> NetworkPolicy:
    (document,) = yaml_reader.read_documents(f"spec: {spec}\n".encode(), PurePosixPath("/policy.yaml"))
    return parse_policy(yaml_reader.plain(document.node))


@pytest.mark.parametrize(
    ("spec", "restricts"),
    [
        ("{}", True),
        ("{podSelector: }", True),
        ("{podSelector: {matchLabels: {}, matchExpressions: []}}", True),
        ("{podSelector: {matchLabels: {app: a}}}", False),
        ("{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}", False),
        ("{policyTypes: [Ingress]}", True),
        ("{policyTypes: [Egress, Ingress]}", True),
        ("{policyTypes: [Egress]}", False),
    ],
)
def test_a_policy_restricts_all_pods_if_it_selects_them_for_ingress(spec: str, *, restricts: bool) -> None:
    found = policy(spec)
    assert (selects(found.selector, {}) and "Ingress" in found.types) is restricts


@pytest.mark.parametrize(
    ("rule", "allows"),
    [
        ("{}", True),
        ("{from: []}", True),
        ("{ports: [{port: 53}]}", False),
        ("{from: [{podSelector: {}}]}", False),
        ("{from: [{namespaceSelector: {}}]}", False),
        ("{from: [{namespaceSelector: {}, podSelector: {}}]}", False),
        ("{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}]}", False),
        ("{from: [{namespaceSelector: {matchLabels: {a: b}}}]}", False),
        ("{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}", True),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: '::/0'}}]}", False),
        ("{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}", False),
    ],
)
def test_a_rule_allows_all_if_it_limits_neither_sources_nor_ports(rule: str, *, allows: bool) -> None:
    """A podSelector without a namespaceSelector selects pods of the same namespace."""
    assert ("Ingress" in policy(f"{{ingress: [{rule}]}}").opens) is allows
    assert not policy("{ingress: []}").opens
