"""NetworkPolicies: whether a pod admits a connection, as kube-router decides, which K3s contains.

(kubernetes, staging/src/k8s.io/api/networking/v1/types.go; kube-router, pkg/controllers/netpol)
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from agent.cluster.kubernetes.label_selectors import selects
from agent.cluster.kubernetes.parsing import as_list, as_mapping, as_string, at, identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.cluster.kubernetes.objects import Json
    from agent.cluster.kubernetes.running_objects import NetworkPod

_OWNER = "objectset.rio.cattle.io/owner-name"
"""K3s' annotation with the name of the Addon, which is that of the file without its suffix."""


class NetworkPolicy(NamedTuple):
    """A NetworkPolicy."""

    namespace: str
    name: str
    spec: Mapping[str, Json]
    addon: str = ""
    """The Addon of K3s that applied it; empty if it is of another origin."""

    @property
    def selector(self) -> Mapping[str, Json]:
        """Which pods of its namespace it is about."""
        return as_mapping(self.spec.get("podSelector"))

    @property
    def types(self) -> frozenset[str]:
        """Ingress, Egress or both."""
        given = filter(None, map(as_string, as_list(self.spec.get("policyTypes"))))
        return frozenset(given) or frozenset({"Ingress", *(("Egress",) if "egress" in self.spec else ())})

    @property
    def opens(self) -> frozenset[str]:
        """Its types of which a rule allows everything."""
        peers = {"Ingress": "from", "Egress": "to"}
        return frozenset(
            kind
            for kind in peers.keys() & self.types
            if any(_allows_all(as_mapping(rule), peers[kind]) for rule in as_list(self.spec.get(kind.lower())))
        )


class Client(NamedTuple):
    """Where connections come from: a pod, a node, or an address outside of the cluster."""

    namespace: str = ""
    """Of a pod; empty for any other client."""
    labels: Mapping[str, str] = {}
    addresses: tuple[str, ...] = ()
    """Empty if they are not known."""
    node: str = ""
    """The node whose address the connections have."""


OUTSIDE = Client()
"""Any address outside of the cluster."""


def parse_policy(item: Json) -> NetworkPolicy:
    """Return a NetworkPolicy."""
    addon = as_string(at(item, "metadata", "annotations").get(_OWNER))
    return NetworkPolicy(*identity(item), at(item, "spec"), addon)


class Policies:
    """All NetworkPolicies of a cluster, and the labels of its namespaces."""

    def __init__(self, policies: Iterable[NetworkPolicy], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._namespaces = namespaces
        self._by_namespace: dict[str, list[NetworkPolicy]] = {}
        for policy in policies:
            if "Ingress" in policy.types:
                self._by_namespace.setdefault(policy.namespace, []).append(policy)

    def of(self, pod: NetworkPod) -> list[NetworkPolicy]:
        """Return the policies that restrict incoming traffic of a pod."""
        if pod.host_network:
            return []
        found = self._by_namespace.get(pod.namespace, ())
        return [policy for policy in found if selects(policy.selector, pod.labels)]

    def admit(self, client: Client, pod: NetworkPod, port: int, protocol: str) -> bool:
        """Return whether a pod admits new connections. A rule that admits some of the client's addresses suffices."""
        applied = self.of(pod)
        if not applied or (client.node and client.node == pod.node):
            return True
        for policy in applied:
            for rule in map(as_mapping, as_list(policy.spec.get("ingress"))):
                peers, ports = as_list(rule.get("from")), as_list(rule.get("ports"))
                is_port = not ports or any(_covers(as_mapping(item), pod, port, protocol) for item in ports)
                if is_port and (
                    not peers or any(self._is_peer(peer, policy.namespace, client) for peer in map(as_mapping, peers))
                ):
                    return True
        return False

    def _is_peer(self, peer: Mapping[str, Json], namespace: str, client: Client) -> bool:
        block = as_mapping(peer.get("ipBlock"))
        if block:
            is_unknown = not client.addresses and not client.namespace
            return is_unknown or any(_is_within(address, block) for address in client.addresses)
        if not client.namespace:
            return False
        if "namespaceSelector" in peer:
            known = selects(peer["namespaceSelector"], self._namespaces.get(client.namespace, {}))
        else:
            known = client.namespace == namespace
        return known and selects(peer.get("podSelector"), client.labels)


def _covers(item: Mapping[str, Json], pod: NetworkPod, port: int, protocol: str) -> bool:
    first = item.get("port")
    if isinstance(first, str):
        first = next((own.number for own in pod.ports if (own.name, own.protocol) == (first, protocol)), -1)
    last = item.get("endPort", first)
    is_protocol = (item.get("protocol") or "TCP") == protocol
    return is_protocol and (first is None or (isinstance(last, int) and first <= port <= last))


def _is_within(address: str, block: Mapping[str, Json]) -> bool:
    try:
        found = ip_address(address)
        excepted = any(found in ip_network(part, strict=False) for part in as_list(block.get("except")))
        return found in ip_network(as_string(block.get("cidr")), strict=False) and not excepted
    except ValueError:
        return False


def _allows_all(rule: Mapping[str, Json], key: str) -> bool:
    peers = list(map(as_mapping, as_list(rule.get(key))))
    return not rule.get("ports") and (not peers or any(map(_is_everyone, peers)))


def _is_everyone(peer: Mapping[str, Json]) -> bool:
    block, pods = at(peer, "ipBlock"), as_mapping(peer.get("podSelector"))
    if block:
        return block.get("cidr") in ("0.0.0.0/0", "::/0") and not block.get("except")
    # Without a namespaceSelector, the podSelector selects pods of the policy's own namespace.
    namespaces = peer.get("namespaceSelector")
    return isinstance(namespaces, dict) and not any((*namespaces.values(), *pods.values()))
