"""policy.yaml, tested with connections between running pods and a real network policy controller.

Every expectation is written by hand. A pod that must not be reachable from one client is reachable from another
client in the same test, so that a broken network fails the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest
import yaml

from agent.harden.guide.manifests import network_policies
from tests.k8s import pods
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

DNS_SERVICE = "10.43.0.10"
POLICED_LATER = "shop"
"""A namespace that is not in policy.yaml."""


class Target(NamedTuple):
    """A port of a pod."""

    protocol: str
    pod: str
    port: int


DNS = Target("udp", "dns", 53)
DNS_TCP = Target("tcp", "dns", 53)
DNS_METRICS = Target("tcp", "dns", 9153)
METRICS = Target("tcp", "metrics-server", 10250)
TRAEFIK = Target("tcp", "traefik", 8000)
LOAD_BALANCER = Target("tcp", "svclb", 8080)
OTHER = Target("tcp", "system", 8080)
WEB = Target("tcp", "web", 8080)
PUBLIC = Target("tcp", "public", 8080)
SHOP = Target("tcp", "shop", 8080)
ALL = (DNS, DNS_TCP, DNS_METRICS, METRICS, TRAEFIK, LOAD_BALANCER, OTHER, WEB, PUBLIC, SHOP)
OPEN_TO_ALL = {DNS, DNS_TCP, METRICS, TRAEFIK, LOAD_BALANCER}
"""The targets that policy.yaml opens to every namespace."""

REACHED = {
    ("shop", "shop-client"): {*OPEN_TO_ALL, SHOP},
    ("default", "client"): {*OPEN_TO_ALL, WEB, SHOP},
    ("kube-public", "public"): {*OPEN_TO_ALL, PUBLIC, SHOP},
    ("kube-system", "system"): {*OPEN_TO_ALL, DNS_METRICS, OTHER, SHOP},
}
"""The targets that the pod of each namespace reaches while `shop` has no policy."""


class Network(NamedTuple):
    """The running pods and their addresses."""

    node: Node
    addresses: Mapping[str, str]

    def reached(self, namespace: str, pod: str) -> set[Target]:
        command = ("exec", f"--namespace={namespace}", pod, "--", *pods.connect(*map(self.address, ALL)))
        return self._answered(self.node.kubectl(*command))

    def reached_by_host(self) -> set[Target]:
        tools = self.node.binaries.path("tools")
        return self._answered(self.node.run(tools, "connect", *map(self.address, ALL), check=True).stdout)

    def address(self, target: Target) -> str:
        return f"{target.protocol}:{self.addresses[target.pod]}:{target.port}"

    def _answered(self, output: str) -> set[Target]:
        found = dict(line.split() for line in output.splitlines())
        return {target for target in ALL if found[self.address(target)] == "true"}

    def until_reached(self, namespace: str, pod: str, expected: set[Target]) -> None:
        found: set[Target] = set()
        for _ in range(10):
            found = self.reached(namespace, pod)
            if found == expected:
                return
        assert found == expected


@pytest.fixture(scope="module")
def network(server: Node) -> Network:
    """Pods in four namespaces; those of kube-system have the labels of K3s' packaged components.

    They become Ready, so policies do not block the probes of the kubelet.
    """
    server.create_namespaces(POLICED_LATER)
    system = "kube-system"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": system},
        "spec": {
            "clusterIP": DNS_SERVICE,
            "selector": {"k8s-app": "kube-dns"},
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
        },
    }
    server.apply(service)
    addresses = server.run_pods(
        pods.pod("dns", system, "udp:53", "tcp:53", "tcp:9153", labels={"k8s-app": "kube-dns"}, as_root=True),
        pods.pod("metrics-server", system, "tcp:10250", labels={"k8s-app": "metrics-server"}),
        pods.pod("traefik", system, "tcp:8000", labels={"app.kubernetes.io/name": "traefik"}),
        pods.pod("svclb", system, "tcp:8080", labels={"svccontroller.k3s.cattle.io/svcname": "traefik"}),
        pods.pod("system", system, "tcp:8080"),
        pods.pod("web", "default", "tcp:8080", probe=8080),
        pods.pod("client", "default"),
        pods.pod("public", "kube-public", "tcp:8080", probe=8080),
        pods.pod("shop", POLICED_LATER, "tcp:8080"),
        pods.pod("shop-client", POLICED_LATER),
    )
    return Network(server, addresses)


@pytest.mark.parametrize(("namespace", "pod"), REACHED)
def test_pods_reach_only_the_targets_that_policy_yaml_allows(network: Network, namespace: str, pod: str) -> None:
    """A pod reaches its namespace, DNS, metrics-server and ingress, but no other pods of namespaces with a policy."""
    network.until_reached(namespace, pod, REACHED[namespace, pod])


def test_host_reaches_every_pod(network: Network) -> None:
    """Policies do not apply to connections from the host, such as probes and those of the API server."""
    assert network.reached_by_host() == set(ALL)


def test_dns_is_reached_through_its_service_address(network: Network) -> None:
    """DNS answers over UDP at the cluster's address, in a namespace without and in one with a policy."""
    address = f"udp:{DNS_SERVICE}:53"
    for namespace, pod in (("shop", "shop-client"), ("default", "client")):
        command = ("exec", f"--namespace={namespace}", pod, "--", *pods.connect(address))
        assert network.node.kubectl(*command).strip() == f"{address} true"


def test_namespace_created_later_is_open_until_it_has_a_policy(network: Network) -> None:
    """The policy that the program renders for a namespace makes its pods unreachable from other namespaces."""
    network.until_reached("default", "client", {*OPEN_TO_ALL, WEB, SHOP})
    documents = [document for document in yaml.safe_load_all(network_policies([POLICED_LATER])) if document]
    (added,) = (document for document in documents if document["metadata"]["namespace"] == POLICED_LATER)
    network.node.apply(added)
    try:
        network.until_reached("default", "client", {*OPEN_TO_ALL, WEB})
        network.until_reached("shop", "shop-client", {*OPEN_TO_ALL, SHOP})
    finally:
        network.node.kubectl("delete", "networkpolicy", f"--namespace={POLICED_LATER}", "--all")
