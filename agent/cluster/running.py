"""Reading of a running cluster: the objects that decide what hardening breaks. All requests are GET."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.errors import HostError
from agent.cluster.kubernetes import parsing, running_objects, running_parsing
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.queries import MONITORS, OBJECTS, REFERRERS, REQUESTS, ApiRequest, Query
from agent.cluster.kubernetes.workloads import CONTROLLERS
from agent.cluster.reader import Reader, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.cluster.kubernetes.objects import Json
    from agent.cluster.reader import ApiClient


def _pod(item: Json) -> running_objects.RunningWorkload:
    return running_objects.RunningWorkload(parsing.pod(item), running_parsing.network_pod(item))


def _template(kind: str, item: Json) -> running_objects.RunningWorkload:
    security, network = parsing.controller(kind, item), running_parsing.network_template(kind, item)
    return running_objects.RunningWorkload(security, network, _missing(item))


def _missing(item: Json) -> int:
    """Return how many pods a controller has not created. Those that it created need not run."""
    spec, status = (parsing.as_mapping(parsing.as_mapping(item).get(key)) for key in ("spec", "status"))
    wanted = spec.get("replicas", status.get("desiredNumberScheduled", 0))
    created = status.get("replicas", status.get("currentNumberScheduled", 0))
    return max(0, wanted - created) if isinstance(wanted, int) and isinstance(created, int) else 0


def _event(item: Json) -> running_objects.FailedEvent:
    about = parsing.as_mapping(parsing.as_mapping(item).get("involvedObject"))
    name = (parsing.as_string(about.get(key)) for key in ("namespace", "kind", "name"))
    return running_objects.FailedEvent(
        running_objects.ObjectName(*name), parsing.as_string(parsing.as_mapping(item).get("message"))
    )


class _List(NamedTuple):
    path: str
    parse: Callable[[Json], Any]
    may_be_missing: bool = False
    parameters: str = ""


_LISTS: Mapping[str, _List] = {
    running_objects.PODS: _List("/api/v1/pods", _pod),
    **{str(query): _List(REQUESTS[query].path, partial(_template, kind)) for query, kind in CONTROLLERS.items()},
    "namespaces": _List("/api/v1/namespaces", parsing.namespace),
    "services": _List("/api/v1/services", running_parsing.service),
    "endpointslices": _List("/apis/discovery.k8s.io/v1/endpointslices", running_parsing.endpoint_slice),
    "networkpolicies": _List(REQUESTS[Query.NETWORK_POLICIES].path, parse_policy),
    "nodes": _List("/api/v1/nodes", running_parsing.network_node),
    "serviceaccounts": _List(
        "/api/v1/serviceaccounts", parsing.service_account, parameters="fieldSelector=metadata.name%3Ddefault"
    ),
    "rolebindings": _List(REQUESTS[Query.ROLE_BINDINGS].path, parsing.binding),
    "clusterrolebindings": _List(REQUESTS[Query.CLUSTER_ROLE_BINDINGS].path, parsing.binding),
    "events": _List("/api/v1/events", _event, parameters="fieldSelector=reason%3DFailedCreate"),
}


def read_running(client: ApiClient, url: str) -> running_objects.Running:
    """Read all lists. Raises HostError if the API server cannot be read at all."""
    reader = Reader(client, url)
    version = reader.version()
    lists = {
        **_LISTS,
        **{
            kind: _List(path, partial(running_parsing.referrer, kind), may_be_missing=True)
            for kind, path in REFERRERS.items()
        },
        **{
            kind: _List(path, partial(running_parsing.monitor, kind), may_be_missing=True)
            for kind, path in MONITORS.items()
        },
    }
    objects: dict[str, tuple[Any, ...]] = {}
    problems: dict[str, str] = {}
    for name, (path, parse, may_be_missing, parameters) in lists.items():
        try:
            objects[name] = reader.listed(ApiRequest(path, OBJECTS, parameters, may_be_missing), parse)
        except HostError as error:
            if not isinstance(error, StatusError) and not objects:
                raise
            problems[name] = error.message
        if path in reader.gaps:
            problems[name] = reader.gaps[path]
    if not any(objects.values()):
        problem = next(iter(problems.values()), "cannot read the cluster: it has no objects")
        raise HostError(problem, "use a credential that may list all objects")
    return running_objects.Running(objects, problems, version)
