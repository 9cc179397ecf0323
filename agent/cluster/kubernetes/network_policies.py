"""NetworkPolicies, and the objects of a running cluster that decide which traffic reaches which pods. Pure."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from agent.base.value import Value
from agent.cluster.kubernetes.objects import Json, as_list, as_mapping, as_string, at, identity, selects
from agent.cluster.kubernetes.running_objects import (
    EndpointSlice,
    Mentions,
    Monitor,
    NetworkNode,
    NetworkPod,
    ObjectName,
    Referrer,
    Service,
    ServicePort,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping

    from agent.k3s.allow_rule import Labels


_Network = Union[IPv4Network, IPv6Network]

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
        """Its types of which its rules together allow everything."""
        return self.types & opened([self])

    @property
    def admits_each_pod(self) -> bool:
        """Whether a rule admits all pods of all namespaces to all ports."""
        rules = map(as_mapping, as_list(self.spec.get("ingress")))
        peers = (peer for rule in rules if not rule.get("ports") for peer in map(as_mapping, as_list(rule.get("from"))))
        # Without a namespaceSelector, the podSelector selects pods of the policy's own namespace.
        return any("namespaceSelector" in peer and not any(map(_selects, peer.values())) for peer in peers)


class Client(NamedTuple):
    """Where connections come from: a pod, a node, or an address outside of the cluster."""

    namespace: str = ""
    """Of a pod; empty for any other client."""
    labels: Mapping[str, str] = {}
    addresses: tuple[str, ...] = ()
    """Empty if they are not known."""
    node: str = ""
    """The node whose address the connections have."""


FORMER = "former "
"""Before the address of a pod that does not exist any more."""
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
        self._by_pod: dict[int, tuple[NetworkPod, list[NetworkPolicy]]] = {}
        """By the identity of the pod, which is kept."""
        for policy in policies:
            if "Ingress" in policy.types:
                self._by_namespace.setdefault(policy.namespace, []).append(policy)

    def of(self, pod: NetworkPod) -> list[NetworkPolicy]:
        """Return the policies that restrict incoming traffic of a pod."""
        if id(pod) not in self._by_pod:
            found = () if pod.host_network else self._by_namespace.get(pod.namespace, ())
            self._by_pod[id(pod)] = (pod, [policy for policy in found if selects(policy.selector, pod.labels)])
        return self._by_pod[id(pod)][1]

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


def _selects(selector: Json) -> bool:
    return any(as_mapping(selector).values())


_PEERS = {"Ingress": "from", "Egress": "to"}
_WHOLE: tuple[_Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_LAST_PORT = 65535


def opened(policies: Iterable[NetworkPolicy], families: Container[int] = (4,)) -> frozenset[str]:
    """Return the types, Ingress and Egress, of which these policies of one pod allow everything.

    `families` are the IP versions of the cluster. A selector of pods never allows what is outside of the cluster.
    """
    found = set()
    for kind, key in _PEERS.items():
        applied = [policy for policy in policies if kind in policy.types]
        rules = [as_mapping(rule) for policy in applied for rule in as_list(policy.spec.get(kind.lower()))]
        parts = [(part, network) for rule in rules for part in _ports(rule) for network in _networks(rule, key)]
        if not applied or all(
            whole.version not in families
            or _is_covered(whole, [((first, last), one) for (name, first, last), one in parts if name == protocol])
            for whole in _WHOLE
            for protocol in ("TCP", "UDP", "SCTP")
        ):
            found.add(kind)
    return frozenset(found)


def _ports(rule: Mapping[str, Json]) -> Iterator[tuple[str, int, int]]:
    """Yield the protocols of a rule, each with its first and last port; none for a port by name."""
    items = [*map(as_mapping, as_list(rule.get("ports")))] or [{"protocol": name} for name in ("TCP", "UDP", "SCTP")]
    for item in items:
        first = item.get("port", 1)
        last = item.get("endPort", first if "port" in item else _LAST_PORT)
        if isinstance(first, int) and isinstance(last, int):
            yield as_string(item.get("protocol")) or "TCP", first, last


def _networks(rule: Mapping[str, Json], key: str) -> Iterator[_Network]:
    """Yield the networks that a rule admits, whatever the pods are that it admits, too."""
    peers = as_list(rule.get(key))
    yield from () if peers else _WHOLE
    for block in (at(peer, "ipBlock") for peer in peers):
        try:
            networks = [ip_network(as_string(block.get("cidr")), strict=False)]
            for part in (ip_network(text, strict=False) for text in as_list(block.get("except"))):
                networks = [left for network in networks for left in _without(network, part)]
        except (ValueError, TypeError):
            continue
        yield from networks


def _without(network: _Network, part: Any) -> Iterable[_Network]:  # noqa: ANN401 - a network of the same version
    if network.version != part.version or not network.overlaps(part):
        return (network,)
    return () if network.subnet_of(part) else network.address_exclude(part)


def _is_covered(whole: _Network, parts: Collection[tuple[tuple[int, int], _Network]]) -> bool:
    """Return whether each port of each address is in one of the parts, which are ranges of ports with a network."""
    edges = {1, *chain.from_iterable((first, last + 1) for (first, last), _ in parts)}
    own: list[tuple[tuple[int, int], Any]] = [part for part in parts if part[1].version == whole.version]
    return all(
        [*collapse_addresses(one for (first, last), one in own if first <= port <= last)] == [whole]
        for port in edges
        if 1 <= port <= _LAST_PORT
    )


_MOST_ABOVE = 4
"""Controllers above a pod."""


class Target(NamedTuple):
    """A port of a pod."""

    pod: NetworkPod
    port: int
    protocol: str


class PodNetwork(Value):
    """The objects of a cluster that decide which traffic reaches which pods."""

    namespaces: Mapping[str, Mapping[str, str]]
    """Labels by name."""
    pods: tuple[NetworkPod, ...] = ()
    templates: tuple[NetworkPod, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    referrers: tuple[Referrer, ...] = ()
    monitors: tuple[Monitor, ...] = ()
    config_maps: tuple[Mentions, ...] = ()
    repositories: tuple[Mentions, ...] = ()
    nodes: tuple[NetworkNode, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()

    @cached_property
    def by_address(self) -> Mapping[str, NetworkPod]:
        """The pods by their own addresses."""
        alive = (pod for pod in self.pods if not pod.host_network and not pod.is_over)
        return {address: pod for pod in alive for address in pod.addresses}

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], NetworkPod]:
        """The pods and templates with an address of their own by namespace and name; pods are preferred."""
        known = (found for found in (*self.templates, *self.pods) if not found.host_network)
        return {(found.namespace, found.name): found for found in known}

    def at(self, end: str) -> NetworkPod | None:
        """Return the pod with an address, or with NAMESPACE/NAME; of a former pod the template that it was made of."""
        namespace, _, name = end.rpartition("/")
        while namespace and name and (namespace, name) not in self.by_name:
            name = name.rpartition("-")[0]  # the name of a controller, and what it has appended
        return self.by_name.get((namespace, name)) if namespace else self.by_address.get(end)

    @cached_property
    def node_clients(self) -> Mapping[str, Client]:
        """The nodes as clients, by name: with their own addresses, and those of their interfaces to pods.

        Those are the first two of the range of pods: of flannel's interface, and of the bridge.
        """
        return {
            node.name: Client(
                node=node.name,
                addresses=(*node.internal, *node.external, *chain.from_iterable(map(_first_two, node.ranges))),
            )
            for node in self.nodes
        }

    @cached_property
    def _above(self) -> Mapping[tuple[str, str], NetworkPod]:
        """The templates by namespace and by kind and name, as pods name their controllers."""
        return {(found.namespace, f"{found.kind} {found.name}"): found for found in self.templates}

    @cached_property
    def workloads(self) -> Mapping[ObjectName, list[NetworkPod]]:
        """Pods by what creates them; of a controller without pods its template."""
        found: dict[ObjectName, list[NetworkPod]] = {}
        for pod in self.pods:
            if not pod.is_over:
                found.setdefault(self.title(pod), []).append(pod)
        for template in self.templates:
            is_revision = template.kind == "ReplicaSet" and template.controller
            if not template.is_over and not is_revision:
                found.setdefault(self.title(template), [template])
        return found

    @cached_property
    def services_by_name(self) -> Mapping[tuple[str, str], Service]:
        """The Services by namespace and name."""
        return {(service.namespace, service.name): service for service in self.services}

    @cached_property
    def _slices(self) -> Mapping[tuple[str, str], list[EndpointSlice]]:
        found: dict[tuple[str, str], list[EndpointSlice]] = {}
        for part in self.slices:
            found.setdefault((part.namespace, part.service), []).append(part)
        return found

    @cached_property
    def by_namespace(self) -> Mapping[str, list[NetworkPod]]:
        """Pods with an address of their own, and templates of controllers without pods."""
        found: dict[str, list[NetworkPod]] = {}
        for pods in self.workloads.values():
            for pod in pods:
                if not pod.host_network:
                    found.setdefault(pod.namespace, []).append(pod)
        return found

    @cached_property
    def by_label(self) -> Mapping[tuple[str, tuple[str, str]], set[Labels]]:
        """The different labels of pods by namespace and by each pair of them."""
        found: dict[tuple[str, tuple[str, str]], set[Labels]] = {}
        for name, pods in self.by_namespace.items():
            for own in {pod.own_labels for pod in pods}:
                for pair in own:
                    found.setdefault((name, pair), set()).add(own)
        return found

    def client_of_node(self, address: str) -> Client | None:
        """Return the node that has an address."""
        return next((client for client in self.node_clients.values() if address in client.addresses), None)

    def title(self, pod: NetworkPod) -> ObjectName:
        """Return the object that a person edits: the outermost controller that is listed."""
        for _ in range(_MOST_ABOVE):
            above = self._above.get((pod.namespace, pod.controller))
            if above is None:
                break
            pod = above
        kind, _, name = pod.controller.partition(" ") if pod.kind == "Pod" else ("", "", "")
        return ObjectName(pod.namespace, kind or pod.kind, name or pod.name)

    def targets(self, service: Service, port: ServicePort) -> tuple[Target, ...]:
        """Return the pods behind a port of a Service; of a Service without endpoints those that it would select."""
        slices = self._slices.get((service.namespace, service.name), ())
        ends = (
            Target(self.by_address[address], number or port.number, protocol)
            for part in slices
            for name, number, protocol in part.ports
            if (name, protocol) == (port.name, port.protocol)
            for address in part.addresses
            if address in self.by_address
        )
        if not service.selector or any(part.addresses for part in slices):
            return tuple(dict.fromkeys(ends))
        chosen = {"matchLabels": service.selector}
        pods = (pod for pod in self.by_namespace.get(service.namespace, ()) if selects(chosen, pod.labels))
        return tuple(Target(pod, number, port.protocol) for pod in pods for number in numbers(pod, port.target))


def _first_two(text: str) -> list[str]:
    """Return the first two addresses of a range; none of a text that is not one."""
    try:
        return list(map(str, islice(ip_network(text, strict=False), 2)))
    except ValueError:
        return []


def numbers(pod: NetworkPod, port: int | str) -> Iterator[int]:
    """Yield the number of a port by number or name."""
    if isinstance(port, int):
        yield port
    else:
        yield from (own.number for own in pod.ports if own.name == port)
