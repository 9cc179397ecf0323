"""Cases of cyclonus and of policy-assistant, its successor, as judges of which connections NetworkPolicies admit.

tests/data/network-policies.yaml is read from mattfenwick/cyclonus at 12f646fb, pkg/recipes/policies.go, whose policies
are those of ahmetb's recipes, named by whom they admit; and from kubernetes-sigs/network-policy-api at 0eec1b0e,
policy-assistant: matcher/policy_tests.go and test/integration/integration_test.go, which have the result of each
connection. The recipes of outgoing traffic (11, 12 and 14) restrict no incoming connection, and AdminNetworkPolicies
are not in K3s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cluster.kubernetes.network_policies import OUTSIDE, Client, Policies, parse_policy
from agent.cluster.kubernetes.running_objects import network_pod
from tests.unit.cluster.kubernetes import samples

DATA = Path(__file__).parents[3] / "data/network-policies.yaml"
CASES: list[dict[str, Any]] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
"""Specs of policies of the namespace default, and from where the pod default/b, with the labels `target`, is reached.

`labels` are those of the other pods and of namespaces. The port is 80 by default.
"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_pod_is_reached_from_where_the_judge_says(case: dict[str, Any]) -> None:
    labels = case.get("labels", {})
    ports = [{"containerPort": 8080, "name": "port-hello"}]
    made = samples.pod("b", "default", samples.container(ports=ports), nodeName="n")
    made["metadata"]["labels"] = case["target"]
    pod = network_pod("Pod", {**made, "status": {"podIP": "10.42.0.2"}})
    metadata = {"namespace": "default", "name": "a"}
    parsed = [parse_policy({"metadata": metadata, "spec": spec}) for spec in case["policies"]]
    namespaces = ("x", "default", "y")
    policies = Policies(parsed, {name: labels.get(name, {}) for name in namespaces})
    clients = {"outside": OUTSIDE} | {
        f"{namespace}/{name}": Client(namespace, labels.get(f"{namespace}/{name}", {}))
        for namespace in namespaces
        for name in "abc"
    }
    clients["default/b"] = Client("default", case["target"])
    port, protocol = case.get("port", 80), case.get("protocol", "TCP")
    found = {name for name, client in clients.items() if policies.admit(client, pod, port, protocol)}
    assert found == {*case["admitted"]}
