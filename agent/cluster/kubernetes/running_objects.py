"""Objects of a running cluster, reduced to what decides which traffic reaches which pods."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.value import Row
from agent.cluster.kubernetes.workloads import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.cluster.kubernetes.objects import Json, Workload
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
    """A host that the environment or an argument of a container names."""

    host: str
    port: int
    """0 if it is not known."""
    container: str


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


class RunningWorkload(NamedTuple):
    """A pod or the template of a controller, as it is checked and as it is reached."""

    security: Workload
    network: NetworkPod
    missing: int = 0
    """Pods that a controller has not created."""
    owner: str = ""
    """What would undo a change of it, such as "Helm release shop/web"."""
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
    problems: Mapping[str, str]
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
