"""Lists of objects, effective configurations and access, read from the API server with K3s' own kubeconfig.

Requests are GET, except the reviews of access, for which the API server stores nothing. Lists are read in pages, and
each page is reduced to the needed fields to save memory. A page that is too large is read in smaller ones. An object
that is too large is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from agent.base.errors import HardenError, HostError, LimitError
from agent.base.host import Host
from agent.base.host.https import HttpsClient, Limits
from agent.base.host.temporary import limited_memory
from agent.cluster.connection import (
    CREATED,
    NOT_FOUND,
    OK,
    ApiClient,
    InvalidAnswerError,
    StatusError,
    accepted,
    connect_as_admin,
    decoded,
    read_json,
)
from agent.cluster.kubernetes import admission_engines, objects, queries, running_objects
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.objects import Json, as_list, as_mapping, as_string, at
from agent.cluster.kubernetes.queries import (
    CONTROLLERS,
    MONITORS,
    REFERRERS,
    REPOSITORIES,
    REQUESTS,
    AccessReview,
    ApiRequest,
    Cluster,
    Query,
)
from agent.cluster.kubernetes.running_objects import PODS, FailedEvent, ObjectName, Running, RunningWorkload
from agent.cluster.node_status import parse_node

LIMITS = Limits(request=5.0, total=20.0, body=8 << 20)
MEMORY = 160 << 20
"""Bytes that the answers take."""
_PAGE = 250
_MOST_OBJECTS = 100_000
"""Objects of one list."""
_AT_ONCE = 6
"""Lists of a running cluster, or reviews, that are requested at the same time: a slow answer is mostly waiting."""
_MOST_NAMED = 3
_MOST_UNANSWERED = 3
"""Requests without an answer after which no more requests are sent."""
_METRICS = "/metrics"
_METRICS_LIMITS = Limits(request=10.0, total=10.0, body=48 << 20)
"""The metrics of a server without workloads have 2.4 MB."""
_LOADED = re.compile(
    rb'^apiserver_manifest_admission_config_controller_last_config_info\{.*\bhash="([^"]*)".*\bplugin="(\w+)"',
    re.MULTILINE,
)

_PARSERS: dict[Query, Callable[[Any], Any]] = {
    Query.NAMESPACES: objects.namespace,
    Query.PODS: objects.pod,
    Query.SERVICE_ACCOUNTS: objects.service_account,
    Query.ROLES: objects.role,
    Query.CLUSTER_ROLES: objects.role,
    Query.ROLE_BINDINGS: objects.binding,
    Query.CLUSTER_ROLE_BINDINGS: objects.binding,
    Query.VALIDATING_WEBHOOKS: partial(admission_engines.webhook, "ValidatingWebhookConfiguration"),
    Query.MUTATING_WEBHOOKS: partial(admission_engines.webhook, "MutatingWebhookConfiguration"),
    Query.ADMISSION_POLICIES: admission_engines.admission_policy,
    Query.ADMISSION_POLICY_BINDINGS: admission_engines.policy_binding,
    Query.NETWORK_POLICIES: parse_policy,
    Query.NODES: parse_node,
    Query.PERSISTENT_VOLUMES: objects.host_volume,
    **{query: partial(objects.controller, kind) for query, kind in CONTROLLERS.items()},
}
"""Parsers of objects by query. For other queries only the name is kept."""


def read_cluster(
    host: Host,
    data_dir: PurePosixPath,
    limits: Limits = LIMITS,
    reviews: Callable[[Cluster], Iterable[AccessReview]] = lambda _: (),
) -> Cluster:
    """Read the objects that the controls need, and ask about access what `reviews` returns for them.

    Raises no exception: failures are in the problems of the result.
    """
    try:
        client = connect_as_admin(host, data_dir, limits)
    except HardenError as error:
        return Cluster("", {}, {}, problem=error.message)
    with client, limited_memory(MEMORY):
        cluster = Reader(client).read()._replace(server=client.url)
        return cluster if cluster.problem else _reviewed(client, cluster, reviews(cluster))


def with_loaded_policies(host: Host, data_dir: PurePosixPath, cluster: Cluster) -> Cluster:
    """Return the cluster with the digest of the files that each plugin has loaded, or with the reason without them."""
    try:
        with connect_as_admin(host, data_dir, _METRICS_LIMITS) as client, limited_memory(MEMORY):
            metrics = accepted(client.get(_METRICS, "text/plain"), f"read {_METRICS}", OK)
            found = {plugin.decode(): digest.decode() for digest, plugin in _LOADED.findall(metrics)}
    except (HardenError, MemoryError) as error:
        reason = error.message if isinstance(error, HardenError) else f"cannot read {_METRICS}: it is too large"
        return cluster._replace(problems={**cluster.problems, _METRICS: reason})
    return cluster._replace(policies=found)


def _reviewed(client: HttpsClient, cluster: Cluster, reviews: Iterable[AccessReview]) -> Cluster:
    """Return the cluster with the answers to these reviews; without them all if one is missing."""
    query = Query.ACCESS_REVIEWS
    path = query.request.path

    def allowed(review: AccessReview) -> bool:
        answer = accepted(client.post(path, json.dumps(review.body).encode()), f"read {path}", CREATED)
        return at(decoded(answer, f"read {path}"), "status").get("allowed") is True

    pool, asked = ThreadPoolExecutor(_AT_ONCE), tuple(reviews)
    try:
        answers = dict(zip(asked, pool.map(allowed, asked)))
    except HostError as error:
        return cluster._replace(problems={**cluster.problems, query.value: error.message})
    finally:
        pool.shutdown(cancel_futures=True)
    return cluster._replace(objects={**cluster.objects, query: tuple(answers)}, reviews=answers)


def parsed_object(query: Query, item: Any) -> Any:  # noqa: ANN401 - any JSON, and one of the types of objects
    """Return an object of a list as the rules need it."""
    return _PARSERS.get(query, objects.named_object)(item)


class Reader:
    """Reads one API server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._objects: dict[Query, tuple[Any, ...]] = {}
        self._problems: dict[str, str] = {}
        self.gaps: dict[str, str] = {}
        """The objects of a list that are too large, by its path."""

    def read(self) -> Cluster:
        """Send all requests, unless the API server does not answer. The result does not name the server."""
        unanswered = 0
        for query, request in REQUESTS.items():
            try:
                self._objects[query] = self.listed(request, partial(parsed_object, query))
            except (StatusError, InvalidAnswerError, LimitError) as error:
                self._problems[query.value] = error.message
            except MemoryError:
                self._problems[query.value] = f"cannot read {request.path}: its objects take too much memory"
            except HostError as error:
                self._problems[query.value] = error.message
                unanswered += 1
                if not self._objects or unanswered >= _MOST_UNANSWERED:
                    return Cluster("", {}, {}, problem=error.message)
        if not any(self._objects.values()):
            # The credentials are rejected, or this is not an API server: each answer has the same reason.
            return Cluster("", {}, {}, problem=next(iter(self._problems.values()), "it has no objects"))
        flags = self._flags()
        kubelets = dict(self._kubelets(have_flags=flags is not None))
        gaps = {query: self.gaps[request.path] for query, request in REQUESTS.items() if request.path in self.gaps}
        return Cluster("", self._objects, self._problems, flags, kubelets, gaps=gaps)

    def listed(self, request: ApiRequest, parse: Callable[[Any], Any]) -> tuple[Any, ...]:
        """Read all pages of a list, and parse each object, without those that are too large, which `gaps` then has.

        Raises HostError if a page is missing.
        """
        found: list[Any] = []
        left_out: list[str] = []
        try:
            for accept, items in self._pages(request):
                if len(found) + len(items) > _MOST_OBJECTS:
                    raise InvalidAnswerError(f"cannot read {request.path}: it has more than {_MOST_OBJECTS} objects")
                if accept != request.accept:
                    left_out += ("/".join(filter(None, objects.named_object(item)[:2])) for item in items)
                else:
                    found += items if accept == queries.TABLE else map(parse, items)
        except StatusError as error:
            if error.status != NOT_FOUND or not request.may_be_missing:
                raise
        if left_out:
            names = f"{', '.join(left_out[:_MOST_NAMED])}{' and others' if left_out[_MOST_NAMED:] else ''}"
            self.gaps[request.path] = f"cannot read {len(left_out)} of {request.path}, too large: {names}"
        return tuple(found)

    def _pages(self, request: ApiRequest) -> Iterator[tuple[str, list[Any]]]:
        """Yield the items of each page. After a page that is too large, pages are smaller.

        Of an object that is too large for a page of its own, the metadata is read, which the accept header shows.
        """
        asked, following, size, largest = request, "", _PAGE, _PAGE
        while True:
            try:
                items, token = self._page(asked, following, size)
            except LimitError:
                if asked is not request:
                    raise
                if size > 1:
                    size = largest = size // 2
                else:
                    asked, largest = request._replace(accept=queries.METADATA), _PAGE
                continue
            if token and not items:
                raise InvalidAnswerError(f"cannot read {request.path}: a page has no objects, and another one follows")
            yield asked.accept, items
            if not token:
                return
            asked, following, size = request, token, min(2 * size, largest)

    def _page(self, request: ApiRequest, following: str, size: int) -> tuple[list[Any], str]:
        """Return the items of a page, and the token for the next one; empty at the end."""
        parameters = (f"limit={size}", request.parameters, following and f"continue={quote(following)}")
        answer = self._json(request, "&".join(filter(None, parameters)))
        following = as_string(at(answer, "metadata").get("continue"))
        if request.accept == queries.TABLE:
            definitions = as_list(as_mapping(answer).get("columnDefinitions"))
            columns = {as_string(as_mapping(column).get("name")): number for number, column in enumerate(definitions)}
            rows = as_mapping(answer).get("rows")
            if not isinstance(rows, list) or "Name" not in columns:
                raise InvalidAnswerError(f"cannot read {request.path}: the answer is not a table of objects")
            return [objects.named_row(as_mapping(row).get("cells"), columns) for row in rows], following
        items = as_mapping(answer).get("items")
        if items is None and as_string(as_mapping(answer).get("kind")).endswith("List"):
            items = []  # as the API server writes an empty list of metadata
        if not isinstance(items, list):
            raise InvalidAnswerError(f"cannot read {request.path}: the answer is not a list of objects")
        return items, following

    def version(self) -> str:
        """Return the version of Kubernetes, such as v1.34.1+k3s1."""
        return as_string(as_mapping(self._json(ApiRequest("/version"))).get("gitVersion"))

    def groups(self) -> frozenset[str]:
        """Return the API groups that the API server has; empty if it does not say."""
        try:
            answer = as_mapping(self._json(ApiRequest("/apis")))
        except (StatusError, InvalidAnswerError, LimitError):
            return frozenset()
        return frozenset(as_string(as_mapping(group).get("name")) for group in as_list(answer.get("groups")))

    def _flags(self) -> dict[str, str] | None:
        """Return the flags of the API server; None before Kubernetes 1.36."""
        try:
            return self._flags_of(queries.FLAGS)
        except HostError as error:
            if not isinstance(error, StatusError) or error.status != NOT_FOUND:
                self._problems["/flagz"] = error.message
            return None

    def _flags_of(self, request: ApiRequest) -> dict[str, str]:
        answer = as_mapping(self._json(request))
        return {name: as_string(value) for name, value in as_mapping(answer.get("flags")).items()}

    def _kubelets(self, *, have_flags: bool) -> Iterator[tuple[str, Json]]:
        """Yield the configuration of each kubelet whose node is ready, by the name of the node."""
        for node in self._objects.get(Query.NODES, ()):
            name = f"kubelet of {node.name}"
            if not node.is_ready:
                self._problems[name] = f"cannot read the configuration of node {node.name}: the node is not ready"
                continue
            path = quote(node.name, safe="")
            try:
                answer = as_mapping(self._json(queries.of_kubelet(path, queries.CONFIGURATION)))
            except HostError as error:
                self._problems[name] = error.message
                continue
            found = dict(as_mapping(answer.get("kubeletconfig")))
            if found.get("seccompDefault") is not True:
                found.pop("seccompDefault", None)
                with suppress(HostError):  # an older kubelet has no flags
                    flags = self._flags_of(queries.of_kubelet(path, queries.FLAGS)) if have_flags else {}
                    found.update({"seccompDefault": flags["seccomp-default"] == "true"} if flags else {})
            yield node.name, found

    def _json(self, request: ApiRequest, parameters: str = "") -> Any:  # noqa: ANN401 - any JSON
        path = f"{request.path}?{parameters}" if parameters else request.path
        return read_json(self._client, path, request.accept)


def _workload(kind: str, item: Json) -> RunningWorkload:
    security = objects.pod(item) if kind == "Pod" else objects.controller(kind, item)
    missing, users = (0, running_objects.users(item)) if kind == "Pod" else (_missing(item), {})
    network = running_objects.network_pod(kind, item)
    return RunningWorkload(security, network, missing, users)


def _missing(item: Json) -> int:
    """Return how many pods a controller has not created. Those that it created need not run."""
    spec, status = objects.at(item, "spec"), objects.at(item, "status")
    wanted = spec.get("replicas", status.get("desiredNumberScheduled", 0))
    created = status.get("replicas", status.get("currentNumberScheduled", 0))
    return max(0, wanted - created) if isinstance(wanted, int) and isinstance(created, int) else 0


def _event(item: Json) -> FailedEvent:
    about = objects.at(item, "involvedObject")
    name = (objects.as_string(about.get(key)) for key in ("namespace", "kind", "name"))
    return FailedEvent(ObjectName(*name), objects.as_string(objects.as_mapping(item).get("message")))


_LISTS: Mapping[str, tuple[ApiRequest, Callable[[Json], Any]]] = {
    PODS: (ApiRequest("/api/v1/pods"), partial(_workload, "Pod")),
    **{str(query): (ApiRequest(REQUESTS[query].path), partial(_workload, kind)) for query, kind in CONTROLLERS.items()},
    "namespaces": (ApiRequest("/api/v1/namespaces"), objects.namespace),
    "services": (ApiRequest("/api/v1/services"), running_objects.service),
    "endpointslices": (ApiRequest("/apis/discovery.k8s.io/v1/endpointslices"), running_objects.endpoint_slice),
    "networkpolicies": (ApiRequest(REQUESTS[Query.NETWORK_POLICIES].path), parse_policy),
    "nodes": (ApiRequest("/api/v1/nodes"), running_objects.network_node),
    "serviceaccounts": (
        ApiRequest("/api/v1/serviceaccounts", parameters="fieldSelector=metadata.name%3Ddefault"),
        objects.service_account,
    ),
    "rolebindings": (ApiRequest(REQUESTS[Query.ROLE_BINDINGS].path), objects.binding),
    "clusterrolebindings": (ApiRequest(REQUESTS[Query.CLUSTER_ROLE_BINDINGS].path), objects.binding),
    "events": (ApiRequest("/api/v1/events", parameters="fieldSelector=reason%3DFailedCreate"), _event),
    "configmaps": (ApiRequest("/api/v1/configmaps"), running_objects.config_map),
    **{
        kind: (ApiRequest(path, may_be_missing=True), partial(parse, kind))
        for parse, paths in (
            (running_objects.referrer, REFERRERS),
            (running_objects.repository, REPOSITORIES),
            (running_objects.monitor, MONITORS),
        )
        for kind, path in paths.items()
    },
}
"""By name, what to ask for and how each object is parsed."""


def read_role() -> dict[str, Any]:
    """Return a ClusterRole that suffices to read all lists."""
    resources: dict[str, list[str]] = {}
    for request, _ in _LISTS.values():
        *_, group, _, name = f"/{request.path}".replace("/api/", "//").split("/")
        found = resources.setdefault(group, [])
        found += [] if name in found else [name]
    rules = [{"apiGroups": [group], "resources": names, "verbs": ["list"]} for group, names in resources.items()]
    metadata = {"name": "k3s-harden-impact"}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def read_running(client: ApiClient, names: Collection[str] = tuple(_LISTS)) -> Running:
    """Read these lists. Raises HostError if the API server cannot be read at all."""
    reader = Reader(client)
    version = reader.version()
    groups = reader.groups()
    silent: list[HostError] = []

    def listed(request: ApiRequest, parse: Callable[[Json], Any]) -> tuple[Any, ...]:
        if len(silent) >= _MOST_UNANSWERED:
            raise silent[0]
        try:
            return reader.listed(request, parse)
        except HostError as error:
            silent.extend([] if isinstance(error, (StatusError, InvalidAnswerError, LimitError)) else [error])
            raise

    objects: dict[str, tuple[Any, ...]] = {}
    problems: dict[str, HostError] = {}
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        answers = {
            name: (request.path, pool.submit(listed, request, parse))
            for name, (request, parse) in _LISTS.items()
            if name in names and not (request.may_be_missing and groups and request.path.split("/")[2] not in groups)
        }
        wait([answer for _, answer in answers.values()])
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt waits for the requests under way only
    if len(silent) >= _MOST_UNANSWERED:
        raise silent[0]
    for name, (path, answer) in answers.items():
        try:
            objects[name] = answer.result()
        except HostError as error:
            problems[name] = error
        if path in reader.gaps:
            problems[name] = LimitError(reader.gaps[path])
    if not any(objects.values()):
        raise next(iter(problems.values()), HostError("cannot read the cluster: it has no objects"))
    return Running(objects, problems, version)
