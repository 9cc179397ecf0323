"""Paths to pods that the objects of a cluster declare, with the clients and pods at their ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial

from agent.base.value import Value
from agent.cluster.kubernetes.network_policies import OUTSIDE, Client, PodNetwork, Target, numbers
from agent.cluster.kubernetes.objects import selects
from agent.cluster.kubernetes.running_objects import (
    Mention,
    Monitor,
    NetworkPod,
    ObjectName,
    Reference,
    Referrer,
    Service,
    ServicePort,
)

_LB_NAME, _LB_NAMESPACE = "svccontroller.k3s.cattle.io/svcname", "svccontroller.k3s.cattle.io/svcnamespace"
"""Labels of the pods of ServiceLB (k3s, pkg/cloudprovider/servicelb.go)."""
_NAME_LABELS = ("app.kubernetes.io/name", "app", "k8s-app")
_SCRAPERS = ("prometheus", "vmagent", "victoria-metrics", "alloy", "grafana-agent", "otel", "opentelemetry", "telegraf")
_WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService")
_INGRESS_CONTROLLER = "traefik"
"""K3s' own one, also for objects without a class."""
_REPOSITORY_READERS = ("argocd-repo-server", "source-controller")
_MOST_ALIASES = 5
"""Services of the type ExternalName, of which one can stand for another."""
_FAR = "not from the node of the pod"


class Flow(Value):
    """Connections from the same kind of client, which an object declares."""

    object: ObjectName
    """What breaks if they are cut."""
    client: str
    """In words."""
    clients: tuple[Client, ...]
    targets: tuple[Target, ...]
    field: str
    found: str
    service: Service | None = None
    """The Service whose endpoints the targets are."""
    stays_open: bool = False
    """Whether the client keeps its connections, so that only the next one is cut."""
    condition: str = ""
    """When these connections are cut, if not always."""
    is_certain: bool = True
    """Whether connections take this path at all."""


class DeclaredPaths:
    """The paths of a cluster."""

    def __init__(self, cluster: PodNetwork) -> None:
        self._cluster = cluster
        self._by_names: dict[tuple[str, ...], Mapping[str, tuple[Client, ...]]] = {}

    def flows(self) -> Iterator[Flow]:
        """Yield the declared paths that can lead from outside of a namespace to its pods."""
        for service in self._cluster.services:
            yield from self._exposed(service)
        yield from self._host_ports()
        for found in self._cluster.referrers:
            yield from self._of_referrer(found)
        yield from self._scraped()
        for title, pods in self._cluster.workloads.items():
            for mention in dict.fromkeys(mention for pod in pods for mention in self._mentions(pod)):
                yield from self._of_mention(title, mention, {str(title): self.clients(pods)})
        readers = self._named_clients(_REPOSITORY_READERS)
        for named in self._cluster.repositories:
            for mention in named.hosts:
                yield from self._of_mention(named.object, mention, readers)

    def _exposed(self, service: Service) -> Iterator[Flow]:
        name = ObjectName(service.namespace, "Service", service.name)
        for port in service.ports:
            ways = {
                "status.loadBalancer": ", ".join(service.balanced) if service.type == "LoadBalancer" else "",
                f"spec.ports[{port.name or port.number}].nodePort": str(port.node_port or ""),
                "spec.externalIPs": ", ".join(service.external_addresses),
            }
            targets = self._cluster.targets(service, port)
            used = {field: value for field, value in ways.items() if value}
            if used:
                field, found = ", ".join(used), "; ".join(used.values())
                yield Flow(name, "clients outside", (OUTSIDE,), targets, field, found, service, condition=_FAR)
            if service.type == "LoadBalancer":
                yield from self._through_service_lb(name, service, port, targets)

    @cached_property
    def _balancers(self) -> list[NetworkPod]:
        return [pod for pods in self._cluster.workloads.values() for pod in pods if is_balancer(pod)]

    def _through_service_lb(
        self, name: ObjectName, service: Service, port: ServicePort, targets: tuple[Target, ...]
    ) -> Iterator[Flow]:
        """Yield the hops of packets whose address is not in status.loadBalancer, so that kube-proxy passes them on."""
        own = (service.name, service.namespace)
        pods = [
            pod
            for pod in self._balancers
            if (pod.labels[_LB_NAME], pod.labels.get(_LB_NAMESPACE, service.namespace)) == own
        ]
        nodes = {pod.node for pod in pods}
        direct = {address for address, mode in service.balanced.items() if mode == "VIP"}
        inside = (
            address
            for node in self._cluster.nodes
            if node.name in nodes
            for address in (*node.internal, *node.external)
        )
        others = [address for address in dict.fromkeys(inside) if address not in direct]
        if not pods or (not others and direct):
            return
        is_proxy = bool(service.balanced) and not direct
        condition = f"for packets to {', '.join(others)}, which status.loadBalancer does not have" if others else ""
        ends = tuple(
            Target(pod, found.number, found.protocol)
            for pod in pods
            for found in pod.ports
            if found.host_port == port.number and found.protocol == port.protocol
        )
        text = ", ".join(f"{key} ({mode})" for key, mode in service.balanced.items()) or "none"
        flow = partial(Flow, name, field="status.loadBalancer", found=text, condition=condition, is_certain=is_proxy)
        yield flow("clients outside, through ServiceLB", (OUTSIDE,), ends)
        yield flow("ServiceLB", self.clients(pods), targets, service=service)

    def _host_ports(self) -> Iterator[Flow]:
        for title, pods in self._cluster.workloads.items():
            for port in dict.fromkeys(port for pod in pods for port in pod.ports if port.host_port):
                targets = tuple(
                    Target(pod, port.number, port.protocol)
                    for pod in pods
                    if not pod.host_network and not is_balancer(pod)
                )
                field = f"containers[{port.container}].ports.hostPort"
                yield Flow(title, "clients outside", (OUTSIDE,), targets, field, str(port.host_port), condition=_FAR)

    def _of_referrer(self, found: Referrer) -> Iterator[Flow]:
        keeps_open = found.object.kind in _WEBHOOKS
        wanted = found.ingress_class or _INGRESS_CONTROLLER
        if keeps_open:
            servers = (self._cluster.node_clients[node.name] for node in self._cluster.nodes if node.is_server)
            clients: Mapping[str, tuple[Client, ...]] = {"the API server": tuple(servers) or (OUTSIDE,)}
        else:
            clients = self._named_clients((wanted,)) or {f"the controller of Ingress class {wanted}": (OUTSIDE,)}
        for service, port in (pair for reference in found.services for pair in self._ports(reference)):
            text = f"{service.namespace}/{service.name}:{port.number}"
            targets = self._cluster.targets(service, port)
            for client, ends in clients.items():
                yield Flow(found.object, client, ends, targets, "service", text, service, stays_open=keeps_open)

    def _ports(self, reference: Reference) -> Iterator[tuple[Service, ServicePort]]:
        service = self._cluster.services_by_name.get((reference.namespace, reference.service))
        for port in service.ports if service else ():
            if reference.port in {0, port.number, port.name}:
                yield service, port  # type: ignore[misc]  # it has ports

    def _named_clients(self, names: tuple[str, ...]) -> Mapping[str, tuple[Client, ...]]:
        """Return the workloads whose name label or image has one of these names, with their pods as clients."""
        if names not in self._by_names:
            self._by_names[names] = {
                str(title): self.clients(pods)
                for title, pods in self._cluster.workloads.items()
                if any(name in text for name in names for text in _names(pods[0]))
            }
        return self._by_names[names]

    def clients(self, pods: Iterable[NetworkPod]) -> tuple[Client, ...]:
        """Return pods as clients: those with equal labels as one, and those with the network of their node as that."""
        found: dict[object, Client] = {}
        for pod in pods:
            if pod.host_network:
                found.setdefault(pod.node, self._cluster.node_clients.get(pod.node, OUTSIDE))
            else:
                before = found.get(pod.own_labels, Client(pod.namespace, pod.labels))
                found[pod.own_labels] = before._replace(addresses=before.addresses + pod.addresses)
        return tuple(found.values())

    def _scraped(self) -> Iterator[Flow]:
        scrapers = self._named_clients(_SCRAPERS)
        for found in self._cluster.monitors:
            for client, ends in (scrapers or {"Prometheus": (OUTSIDE,)}).items():
                ports = f"ports {', '.join(map(str, found.ports))}"
                yield Flow(found.object, client, ends, tuple(self._monitored(found)), "spec.selector", ports)
        for client, ends in scrapers.items():
            for title, pods in self._cluster.workloads.items():
                pod = pods[0]
                if pod.scrape_port is not None:
                    numbers = [pod.scrape_port] if pod.scrape_port else [port.number for port in pod.ports]
                    targets = tuple(Target(own, number, "TCP") for own in pods for number in numbers)
                    yield Flow(title, client, ends, targets, "prometheus.io/scrape", "true")
            for service in self._cluster.services:
                if service.scrape_port is not None:
                    name = ObjectName(service.namespace, "Service", service.name)
                    targets = tuple(end for port in service.ports for end in self._cluster.targets(service, port))
                    if service.scrape_port:
                        targets = tuple(dict.fromkeys(Target(end.pod, service.scrape_port, "TCP") for end in targets))
                    yield Flow(name, client, ends, targets, "prometheus.io/scrape", "true", service)

    def _monitored(self, monitor: Monitor) -> Iterator[Target]:
        if monitor.object.kind == "PodMonitor":
            for pod in self._cluster.pods:
                if (not monitor.namespaces or pod.namespace in monitor.namespaces) and selects(
                    monitor.selector, pod.labels
                ):
                    yield from (Target(pod, number, "TCP") for port in monitor.ports for number in numbers(pod, port))
            return
        for service in self._cluster.services:
            if (not monitor.namespaces or service.namespace in monitor.namespaces) and selects(
                monitor.selector, service.labels
            ):
                for port in service.ports:
                    if {port.name, port.number, port.target} & set(monitor.ports):
                        yield from self._cluster.targets(service, port)

    @cached_property
    def _hosts_of_config_maps(self) -> Mapping[tuple[str, str], tuple[Mention, ...]]:
        return {(found.object.namespace, found.object.name): found.hosts for found in self._cluster.config_maps}

    def _mentions(self, pod: NetworkPod) -> Iterator[Mention]:
        yield from pod.mentions
        for name in pod.config_maps:
            yield from self._hosts_of_config_maps.get((pod.namespace, name), ())

    def _of_mention(
        self, object_: ObjectName, mention: Mention, clients: Mapping[str, tuple[Client, ...]]
    ) -> Iterator[Flow]:
        service = self._mentioned(mention.host, object_.namespace)
        if service is None:
            return
        chosen = [port for port in service.ports if mention.port == port.number] or [*service.ports]
        targets = tuple(target for port in chosen for target in self._cluster.targets(service, port))
        if "None" in service.addresses and mention.port:
            # A headless Service has no ports of its own.
            targets = tuple(dict.fromkeys(Target(end.pod, mention.port, end.protocol) for end in targets))
        text = f"{mention.host}:{mention.port}" if mention.port else mention.host
        for client, ends in clients.items():
            yield Flow(object_, client, ends, targets, mention.field, text, service)

    @cached_property
    def _by_service_address(self) -> Mapping[str, Service]:
        return {
            address: service for service in self._cluster.services for address in service.addresses if address != "None"
        }

    def _mentioned(self, host: str, own: str) -> Service | None:
        """Return the Service with endpoints that a host stands for in a namespace.

        The host is an address, `NAME`, `NAME.NAMESPACE`, or `POD.NAME.NAMESPACE`.
        """
        for _ in range(_MOST_ALIASES):
            parts = [*host.split("."), own] if "." not in host else host.split(".")
            names = ((second, first) for first, second in zip(parts, parts[1:3]))
            found = next((name for name in names if name in self._cluster.services_by_name), None)
            service = self._by_service_address.get(host)
            service = self._cluster.services_by_name[found] if service is None and found else service
            if service is None or not service.external_name:
                return service
            host, own = service.external_name, service.namespace
        return None


def _names(pod: NetworkPod) -> Iterator[str]:
    yield from (pod.labels.get(label, "") for label in _NAME_LABELS)
    yield from (image.rpartition("/")[2].partition(":")[0] for image in pod.images)


def is_balancer(pod: NetworkPod) -> bool:
    """Return whether a pod belongs to ServiceLB."""
    return _LB_NAME in pod.labels
