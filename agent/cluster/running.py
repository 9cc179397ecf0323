"""Reading of a running cluster: the objects that decide what hardening breaks. All requests are GET."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agent.base.errors import HostError
from agent.cluster.connection import StatusError
from agent.cluster.kubernetes import parsing, running_parsing
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.queries import MONITORS, REFERRERS, REQUESTS, ApiRequest, Query
from agent.cluster.kubernetes.running_objects import PODS, FailedEvent, ObjectName, Running, RunningWorkload
from agent.cluster.kubernetes.workloads import CONTROLLERS
from agent.cluster.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.cluster.kubernetes.objects import Json
    from agent.cluster.reader import ApiClient


def _workload(kind: str, item: Json) -> RunningWorkload:
    security = parsing.pod(item) if kind == "Pod" else parsing.controller(kind, item)
    return RunningWorkload(security, running_parsing.network_pod(kind, item), _missing(item) if kind != "Pod" else 0)


def _missing(item: Json) -> int:
    """Return how many pods a controller has not created. Those that it created need not run."""
    spec, status = parsing.at(item, "spec"), parsing.at(item, "status")
    wanted = spec.get("replicas", status.get("desiredNumberScheduled", 0))
    created = status.get("replicas", status.get("currentNumberScheduled", 0))
    return max(0, wanted - created) if isinstance(wanted, int) and isinstance(created, int) else 0


def _event(item: Json) -> FailedEvent:
    about = parsing.at(item, "involvedObject")
    name = (parsing.as_string(about.get(key)) for key in ("namespace", "kind", "name"))
    return FailedEvent(ObjectName(*name), parsing.as_string(parsing.as_mapping(item).get("message")))


_LISTS: Mapping[str, tuple[ApiRequest, Callable[[Json], Any]]] = {
    PODS: (ApiRequest("/api/v1/pods"), partial(_workload, "Pod")),
    **{str(query): (ApiRequest(REQUESTS[query].path), partial(_workload, kind)) for query, kind in CONTROLLERS.items()},
    "namespaces": (ApiRequest("/api/v1/namespaces"), parsing.namespace),
    "services": (ApiRequest("/api/v1/services"), running_parsing.service),
    "endpointslices": (ApiRequest("/apis/discovery.k8s.io/v1/endpointslices"), running_parsing.endpoint_slice),
    "networkpolicies": (ApiRequest(REQUESTS[Query.NETWORK_POLICIES].path), parse_policy),
    "nodes": (ApiRequest("/api/v1/nodes"), running_parsing.network_node),
    "serviceaccounts": (
        ApiRequest("/api/v1/serviceaccounts", parameters="fieldSelector=metadata.name%3Ddefault"),
        parsing.service_account,
    ),
    "rolebindings": (ApiRequest(REQUESTS[Query.ROLE_BINDINGS].path), parsing.binding),
    "clusterrolebindings": (ApiRequest(REQUESTS[Query.CLUSTER_ROLE_BINDINGS].path), parsing.binding),
    "events": (ApiRequest("/api/v1/events", parameters="fieldSelector=reason%3DFailedCreate"), _event),
    **{
        kind: (ApiRequest(path, may_be_missing=True), partial(running_parsing.referrer, kind))
        for kind, path in REFERRERS.items()
    },
    **{
        kind: (ApiRequest(path, may_be_missing=True), partial(running_parsing.monitor, kind))
        for kind, path in MONITORS.items()
    },
}
"""By name, what to ask for and how each object is parsed."""


def read_running(client: ApiClient) -> Running:
    """Read all lists. Raises HostError if the API server cannot be read at all."""
    reader = Reader(client)
    version = reader.version()
    objects: dict[str, tuple[Any, ...]] = {}
    problems: dict[str, str] = {}
    for name, (request, parse) in _LISTS.items():
        try:
            objects[name] = reader.listed(request, parse)
        except HostError as error:
            if not isinstance(error, StatusError) and not objects:
                raise
            problems[name] = error.message
        if request.path in reader.gaps:
            problems[name] = reader.gaps[request.path]
    if not any(objects.values()):
        problem = next(iter(problems.values()), "cannot read the cluster: it has no objects")
        raise HostError(problem, "use a credential that may list all objects")
    return Running(objects, problems, version)
