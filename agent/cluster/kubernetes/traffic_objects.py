"""The objects of a cluster that decide which traffic reaches which pods, by what is looked up."""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_network
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from agent.base.value import Value
from agent.cluster.kubernetes.label_selectors import selects
from agent.cluster.kubernetes.network_policies import Client
from agent.cluster.kubernetes.running_objects import NetworkPod, ObjectName, ServicePort

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.cluster.kubernetes.network_policies import NetworkPolicy
    from agent.cluster.kubernetes.running_objects import (
        EndpointSlice,
        Monitor,
        NetworkNode,
        Referrer,
        Service,
    )
    from agent.k3s.allow_rule import Labels

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
    nodes: tuple[NetworkNode, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()

    @cached_property
    def by_address(self) -> Mapping[str, NetworkPod]:
        """The pods by their own addresses."""
        alive = (pod for pod in self.pods if not pod.host_network and not pod.is_over)
        return {address: pod for pod in alive for address in pod.addresses}

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
    def labels(self) -> Mapping[str, set[Labels]]:
        """The different labels of pods, by namespace."""
        return {name: {pod.own_labels for pod in pods} for name, pods in self.by_namespace.items()}

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
