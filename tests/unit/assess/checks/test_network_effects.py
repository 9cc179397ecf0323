"""Rules of kube-router compared with the policies of the pods of a node."""

from __future__ import annotations

import pytest

from agent.assess.assessment import ControlStatus
from agent.assess.checks.network_effects import NodeNetwork, network_policy_effect
from agent.base.host.node_state import parsed_rules
from agent.base.value import replace
from agent.cluster.kubernetes.network_policies import NetworkPolicy, parse_policy
from agent.cluster.kubernetes.running_objects import NetworkPod, network_pod
from tests.unit.assess.checks.nodes import CheckedNode

ENTRY = '-A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD\n'
JUMP = "-A KUBE-ROUTER-FORWARD -d 10.42.0.9/32 -m comment --comment jump -j KUBE-POD-FW-A\n"
RUN_THROUGH = '-A KUBE-POD-FW-A -d 10.42.0.9/32 -m comment --comment "run through nw policy deny" -j KUBE-NWPLCY-B\n'
REJECT = "-A KUBE-POD-FW-A -m comment --comment reject -m mark ! --mark 0x10000/0x10000 -j REJECT\n"
ENFORCED = ENTRY + JUMP + RUN_THROUGH + REJECT
NO_RULE = "pod default/web (10.42.0.9) has no rule for ingress"
SKIPPED = 'level=warning msg="Skipping network policy controller start, ipset unavailable: ipset v7.17: Cannot open"'


def pod(name: str = "web", **labels: str) -> NetworkPod:
    return network_pod(
        "Pod",
        {
            "metadata": {"namespace": "default", "name": name, "labels": labels},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.42.0.9"}]},
        },
    )


def policy(*types: str) -> NetworkPolicy:
    metadata = {"namespace": "default", "name": "deny"}
    return parse_policy({"metadata": metadata, "spec": {"podSelector": {}, "policyTypes": [*types]}})


def network(rules: str = ENFORCED, *types: str) -> NodeNetwork:
    rows = {4: tuple(parsed_rules(rules)), 6: ()}
    return NodeNetwork(rules=rows, pods=(pod(),), policies=(policy(*types),))


def found(server: CheckedNode, of: NodeNetwork, config: str = "") -> tuple[ControlStatus, str]:
    server.config(config)
    effect = network_policy_effect(server.facts(), of)
    return effect.status, effect.observed


def test_rules_of_each_policy_and_pod_are_in_force(server: CheckedNode) -> None:
    assert found(server, network()) == (
        ControlStatus.PASS,
        "the kernel has the rules of all policies for 1 pods of this node",
    )


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("", "traffic to pods does not pass KUBE-ROUTER-FORWARD (IPv4)"),
        ("-A FORWARD -j ACCEPT\n" + ENFORCED, "traffic to pods does not pass KUBE-ROUTER-FORWARD (IPv4)"),
        (ENTRY + JUMP.replace(" -m", " -m physdev --physdev-is-bridged -m") + RUN_THROUGH + REJECT, NO_RULE),
        (ENTRY + RUN_THROUGH + REJECT, NO_RULE),
        (ENTRY + JUMP + REJECT, "pod default/web does not pass NetworkPolicy default/deny for ingress"),
        (ENTRY + JUMP + RUN_THROUGH, "pod default/web has no rule that rejects what no policy admits"),
    ],
)
def test_a_missing_rule_is_not_in_force(server: CheckedNode, rules: str, says: str) -> None:
    assert found(server, network(rules)) == (ControlStatus.FAIL, says)


def test_egress_needs_a_rule_for_the_source(server: CheckedNode) -> None:
    leaving = "-A FORWARD -s 10.42.0.9/32 -m comment --comment jump -j KUBE-POD-FW-A\n"
    assert found(server, network(ENFORCED, "Egress"))[0] is ControlStatus.FAIL
    assert found(server, network(ENFORCED + leaving, "Egress"))[0] is ControlStatus.PASS


def test_a_skipped_controller_is_not_in_force_whatever_an_earlier_start_left(server: CheckedNode) -> None:
    of = replace(network(), logged=(SKIPPED,))
    assert found(server, of) == (ControlStatus.FAIL, f"K3s runs without its network policy controller: {SKIPPED}")


def test_an_aborted_synchronization_explains_missing_rules(server: CheckedNode) -> None:
    line = "Aborting sync. Failed to run iptables-restore: exit status 2"
    assert found(server, replace(network(ENTRY), logged=(line,)))[1].endswith(f"; K3s logged: {line}")
    assert found(server, replace(network(), logged=(line,)))[0] is ControlStatus.PASS


@pytest.mark.parametrize(
    ("of", "config", "says"),
    [
        (NodeNetwork("cannot read the packet filter"), "", "cannot read the packet filter"),
        (replace(network(), policies=()), "", "no policy selects a pod of this node, so there is nothing to enforce"),
        (network(""), "disable-network-policy: true\n", "no pod of a known network plugin runs on this node"),
        (
            replace(network(""), pods=(pod("cilium-x", **{"k8s-app": "cilium"}),)),
            "disable-network-policy: true\n",
            "pods of Cilium run on this node, whose rules are not read",
        ),
    ],
)
def test_what_cannot_be_looked_at_is_unknown(server: CheckedNode, of: NodeNetwork, config: str, says: str) -> None:
    assert found(server, of, config) == (ControlStatus.UNKNOWN, says)
