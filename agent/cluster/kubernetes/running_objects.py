"""Objects of a running cluster, reduced to what decides which traffic reaches which pods, and their parsers."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.value import Row
from agent.cluster.kubernetes.objects import (
    Json,
    Workload,
    as_list,
    as_mapping,
    as_string,
    at,
    controller_of,
    has_ended,
    identity,
    string_values,
    template_of,
)
from agent.cluster.kubernetes.queries import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.base.errors import HostError
    from agent.k3s.allow_rule import Labels

PODS = "pods"
"""The name of the list of pods. Those of controllers have the names of their queries."""
_OF_CONTROLLERS = (
    "apps.kubernetes.io/",
    "batch.kubernetes.io/",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/",
)
"""Beginnings of the labels that controllers set on their pods, and that differ between these."""


class ObjectName(NamedTuple):
    """The name of an object. The namespace is empty if its kind has none."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return "/".join(filter(None, self))


class Mention(NamedTuple):
    """A host that the environment or an argument of a container names, or another object."""

    host: str
    """A name with dots, an address, or the name of a Service in the same namespace."""
    port: int
    """0 if it is not known."""
    field: str


class Mentions(NamedTuple):
    """An object that names hosts for its clients, such as a ConfigMap."""

    object: ObjectName
    hosts: tuple[Mention, ...]


class PodPort(NamedTuple):
    """A port that a container declares."""

    number: int
    protocol: str
    name: str
    host_port: int
    container: str


class NetworkPod(Row):
    """A pod, or the template of a controller, which has no address and no node."""

    namespace: str
    kind: str
    """Pod, or the kind of the controller."""
    name: str
    labels: Mapping[str, str]
    controller: str
    """Kind and name of the object that created it; empty if there is none."""
    node: str
    addresses: tuple[str, ...]
    host_network: bool
    ports: tuple[PodPort, ...]
    images: tuple[str, ...]
    mentions: tuple[Mention, ...]
    config_maps: tuple[str, ...]
    """The ConfigMaps in volumes and in the environment."""
    scrape_port: int | None
    """By annotation; 0 means all ports, None that it is not scraped."""
    is_over: bool
    """Whether it is a pod or Job that has ended."""

    @cached_property
    def own_labels(self) -> Labels:
        """The labels without those that controllers set."""
        return own_labels(self.labels)


class ServicePort(NamedTuple):
    """A port of a Service."""

    name: str
    number: int
    protocol: str
    target: int | str
    node_port: int


class Service(NamedTuple):
    """A Service."""

    namespace: str
    name: str
    type: str
    selector: Mapping[str, str]
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    """Of the cluster; "None" if it is headless."""
    ports: tuple[ServicePort, ...]
    external_addresses: tuple[str, ...]
    external_name: str
    """The host that it stands for; empty if it has endpoints."""
    balanced: Mapping[str, str]
    """By address of the load balancer its ipMode; VIP by default."""
    scrape_port: int | None


class EndpointSlice(NamedTuple):
    """Addresses and ports behind a Service."""

    namespace: str
    service: str
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, int, str], ...]
    """Name, number and protocol."""


class Reference(NamedTuple):
    """A Service that an object such as an Ingress or a webhook names."""

    namespace: str
    """Of the Service."""
    service: str
    port: int | str
    """Its number or name; 0 if it is not set."""


class Referrer(NamedTuple):
    """An object that names Services."""

    object: ObjectName
    ingress_class: str
    services: tuple[Reference, ...]


class Monitor(NamedTuple):
    """A ServiceMonitor or PodMonitor."""

    object: ObjectName
    selector: Mapping[str, Json]
    namespaces: tuple[str, ...]
    """Empty for all."""
    ports: tuple[int | str, ...]


class NetworkNode(NamedTuple):
    """A node."""

    name: str
    is_server: bool
    internal: tuple[str, ...]
    external: tuple[str, ...]
    ranges: tuple[str, ...]
    """The addresses of its pods."""
    arguments: str
    """K3s' annotation with its arguments."""
    machine: str = ""
    """Its machine ID."""


class RunningWorkload(NamedTuple):
    """A pod or the template of a controller, as it is checked and as it is reached."""

    security: Workload
    network: NetworkPod
    missing: int = 0
    """Pods that a controller has not created."""
    users: Mapping[str, int] = {}
    """The users of the running containers by the name of the container, if the kubelet reports them."""


class FailedEvent(NamedTuple):
    """An event of a controller that could not create a pod."""

    object: ObjectName
    message: str


class Running(NamedTuple):
    """The objects of a running cluster."""

    objects: Mapping[str, tuple[Any, ...]]
    """By the name of the list; a list that could not be read is missing."""
    problems: Mapping[str, HostError]
    """Why a list could not be read."""
    version: str
    """Of the API server, such as v1.34.1+k3s1; empty if it is not known."""

    @property
    def workloads(self) -> Iterator[RunningWorkload]:
        """All pods and controllers."""
        for name in (PODS, *map(str, CONTROLLERS)):
            yield from self.objects.get(name, ())


def own_labels(labels: Mapping[str, str]) -> Labels:
    """Return labels of a pod without those that controllers set."""
    return tuple(sorted(pair for pair in labels.items() if not pair[0].startswith(_OF_CONTROLLERS)))


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(
    rf"(?:(?<![a-z0-9])([a-z][a-z0-9+-]{{0,15}})://)?(?<![a-z0-9-])((?:{_LABEL}\.){{1,8}}{_LABEL})(?::(\d{{1,5}})(?!\d))?"
)
"""A name or IPv4 address in a text, with the scheme before it and the port after it."""
_SHORT = re.compile(
    r"(?:([a-z][a-z0-9+-]{0,15})://(?:[^@/\s]*@)?|^\w{0,64}(?:host|addr|server|endpoint|ur[il])\w{0,64}=|^)"
    rf"({_LABEL})(?::(\d{{1,5}}))?(?=[/?,\s]|$)"
)
"""The name of a Service in the same namespace: after a scheme, or the value of a variable with such a name."""
_MOST_HOSTS = 500
"""Names in one pod."""
_LONGEST_TEXT = 65_536
_DEEPEST = 40
"""Levels of an object that names Services."""
_SCHEME_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SCRAPE, _SCRAPE_PORT = "prometheus.io/scrape", "prometheus.io/port"


def network_pod(kind: str, item: Json) -> NetworkPod:
    """Return a pod, or the template of a controller."""
    pod = as_mapping(item) if kind == "Pod" else template_of(kind, item)
    metadata, spec, status = at(pod, "metadata"), at(pod, "spec"), at(pod, "status")
    containers = [as_mapping(found) for key in ("containers", "initContainers") for found in as_list(spec.get(key))]
    addresses = [as_string(as_mapping(found).get("ip")) for found in as_list(status.get("podIPs"))]
    namespace, name = identity(item)
    return NetworkPod(
        namespace=namespace,
        kind=kind,
        name=name,
        labels=string_values(metadata.get("labels")),
        controller=controller_of(item),
        node=as_string(spec.get("nodeName")),
        addresses=tuple(filter(None, addresses)) or _one(status.get("podIP")),
        host_network=spec.get("hostNetwork") is True,
        ports=tuple(
            PodPort(
                _number(port.get("containerPort")),
                as_string(port.get("protocol")) or "TCP",
                as_string(port.get("name")),
                _number(port.get("hostPort")),
                as_string(container.get("name")),
            )
            for container in containers
            for port in map(as_mapping, as_list(container.get("ports")))
        ),
        images=tuple(as_string(container.get("image")) for container in containers),
        mentions=tuple(dict.fromkeys(mention for container in containers for mention in _mentions(container))),
        config_maps=tuple(dict.fromkeys(filter(None, _config_maps(spec, containers)))),
        scrape_port=_scrape_port(metadata),
        is_over=has_ended(kind, item),
    )


def _config_maps(spec: Mapping[str, Json], containers: Sequence[Json]) -> Iterator[str]:
    for volume in as_list(spec.get("volumes")):
        yield as_string(at(volume, "configMap").get("name"))
        sources = as_list(at(volume, "projected").get("sources"))
        yield from (as_string(at(source, "configMap").get("name")) for source in sources)
    for container in containers:
        yield from (as_string(at(found, "configMapRef").get("name")) for found in as_list(container.get("envFrom")))
        variables = as_list(container.get("env"))
        yield from (as_string(at(found, "valueFrom", "configMapKeyRef").get("name")) for found in variables)


def _mentions(container: Mapping[str, Json]) -> Iterator[Mention]:
    variables = [as_mapping(found) for found in as_list(container.get("env"))]
    named = [f"{as_string(found.get('name'))}={as_string(found.get('value'))}" for found in variables]
    texts = (
        *named,
        *map(as_string, as_list(container.get("command"))),
        *map(as_string, as_list(container.get("args"))),
    )
    yield from _hosts(texts, f"containers[{as_string(container.get('name'))}]")


def _hosts(texts: Iterable[str], field: str) -> Iterator[Mention]:
    """Yield the hosts in these texts, of which each can be a variable with its value."""
    short = (text[:_LONGEST_TEXT].lower() for text in texts)
    found = (match for text in short for pattern in (_HOST, _SHORT) for match in pattern.finditer(text))
    for _, match in zip(range(_MOST_HOSTS), found):
        scheme, host, port = match.groups()
        yield Mention(host, int(port or _SCHEME_PORTS.get(scheme or "", 0)), field)


def config_map(item: Json) -> Mentions:
    """Return the hosts that a ConfigMap names."""
    namespace, name = identity(item)
    texts = [f"{key}={value}" for key, value in string_values(as_mapping(item).get("data")).items()]
    hosts = tuple(dict.fromkeys(_hosts(texts, f"ConfigMap {name}")))
    return Mentions(ObjectName(namespace, "ConfigMap", name), hosts)


def repository(kind: str, item: Json) -> Mentions:
    """Return the hosts of the repositories that an object of Argo CD or Flux names."""
    spec = at(item, "spec")
    sources = [spec, at(spec, "source"), *map(as_mapping, as_list(spec.get("sources")))]
    texts = [as_string(source.get(key)) for source in sources for key in ("repoURL", "url")]
    return Mentions(ObjectName(identity(item)[0], kind, identity(item)[1]), tuple(_hosts(texts, "repository")))


def service(item: Json) -> Service:
    """Return a Service."""
    metadata, spec = at(item, "metadata"), at(item, "spec")
    balanced = map(as_mapping, as_list(at(item, "status", "loadBalancer").get("ingress")))
    return Service(
        *identity(item),
        type=as_string(spec.get("type")) or "ClusterIP",
        selector=string_values(spec.get("selector")),
        labels=string_values(metadata.get("labels")),
        addresses=_strings(spec.get("clusterIPs")) or _one(spec.get("clusterIP")),
        ports=tuple(
            ServicePort(
                as_string(port.get("name")),
                _number(port.get("port")),
                as_string(port.get("protocol")) or "TCP",
                port["targetPort"] if isinstance(port.get("targetPort"), (int, str)) else _number(port.get("port")),
                _number(port.get("nodePort")),
            )
            for port in map(as_mapping, as_list(spec.get("ports")))
        ),
        external_addresses=_strings(spec.get("externalIPs")),
        external_name=as_string(spec.get("externalName")) if spec.get("type") == "ExternalName" else "",
        balanced={
            as_string(found.get("ip")) or as_string(found.get("hostname")): as_string(found.get("ipMode")) or "VIP"
            for found in balanced
        },
        scrape_port=_scrape_port(metadata),
    )


def endpoint_slice(item: Json) -> EndpointSlice:
    """Return an EndpointSlice."""
    endpoints = map(as_mapping, as_list(as_mapping(item).get("endpoints")))
    return EndpointSlice(
        identity(item)[0],
        as_string(at(item, "metadata", "labels").get("kubernetes.io/service-name")),
        tuple(address for endpoint in endpoints for address in _strings(endpoint.get("addresses"))),
        tuple(
            (as_string(port.get("name")), _number(port.get("port")), as_string(port.get("protocol")) or "TCP")
            for port in map(as_mapping, as_list(as_mapping(item).get("ports")))
        ),
    )


def referrer(kind: str, item: Json) -> Referrer:
    """Return the Services that an object names."""
    (own, name), spec = identity(item), at(item, "spec")
    return Referrer(
        ObjectName(own, kind, name),
        as_string(spec.get("ingressClassName"))
        or as_string(at(item, "metadata", "annotations").get("kubernetes.io/ingress.class")),
        tuple(dict.fromkeys(_references(as_mapping(item).get("webhooks") or spec, own))),
    )


def _references(node: Json, own: str, depth: int = 0) -> Iterator[Reference]:
    """Yield the Services below a node: those of Ingress, HTTPRoute, IngressRoute, webhooks and APIService."""
    if depth > _DEEPEST:
        return
    for part in as_list(node):
        yield from _references(part, own, depth + 1)
    for key, part in as_mapping(node).items():
        named = as_list(part) if key in {"services", "backendRefs"} else [part] if key == "service" else []
        for found in map(as_mapping, named):
            name, port = as_string(found.get("name")), found.get("port")
            if name and found.get("kind", "Service") == "Service":
                number = as_mapping(port).get("number") or as_mapping(port).get("name") or port
                usable = number if isinstance(number, (int, str)) else 0
                yield Reference(as_string(found.get("namespace")) or own, name, usable)
        yield from _references(part, own, depth + 1)


def monitor(kind: str, item: Json) -> Monitor:
    """Return a ServiceMonitor or PodMonitor."""
    (own, name), spec = identity(item), at(item, "spec")
    chosen = at(spec, "namespaceSelector")
    ends = [*as_list(spec.get("endpoints")), *as_list(spec.get("podMetricsEndpoints"))]
    ports = ((as_mapping(end).get("port") or as_mapping(end).get("targetPort")) for end in ends)
    return Monitor(
        ObjectName(own, kind, name),
        at(spec, "selector"),
        () if chosen.get("any") is True else _strings(chosen.get("matchNames")) or (own,),
        tuple(port for port in ports if isinstance(port, (int, str))),
    )


def network_node(item: Json) -> NetworkNode:
    """Return a node."""
    spec = at(item, "spec")
    found = [as_mapping(address) for address in as_list(at(item, "status").get("addresses"))]
    roles = ("control-plane", "etcd", "master")
    internal, external = (
        tuple(as_string(address.get("address")) for address in found if address.get("type") == kind)
        for kind in ("InternalIP", "ExternalIP")
    )
    return NetworkNode(
        identity(item)[1],
        any(f"node-role.kubernetes.io/{role}" in at(item, "metadata", "labels") for role in roles),
        internal,
        external,
        _strings(spec.get("podCIDRs")) or _one(spec.get("podCIDR")),
        as_string(at(item, "metadata", "annotations").get("k3s.io/node-args")),
        as_string(at(item, "status", "nodeInfo").get("machineID")),
    )


def users(item: Json) -> dict[str, int]:
    """Return the user of each running container of a pod by its name, from Kubernetes 1.33 on."""
    status = at(item, "status")
    lists = (as_list(status.get(key)) for key in ("containerStatuses", "initContainerStatuses"))
    found = (
        (as_string(as_mapping(one).get("name")), at(one, "user", "linux").get("uid")) for own in lists for one in own
    )
    return {name: number for name, number in found if isinstance(number, int)}


def _strings(value: Json) -> tuple[str, ...]:
    return tuple(text for text in as_list(value) if isinstance(text, str))


def _one(value: Json) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else ()


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _scrape_port(metadata: Mapping[str, Json]) -> int | None:
    annotations = string_values(metadata.get("annotations"))
    if annotations.get(_SCRAPE, "").lower() != "true":
        return None
    port = annotations.get(_SCRAPE_PORT, "")
    return int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
