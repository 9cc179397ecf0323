"""A cluster as an API server returns it: objects in JSON, and the impact of hardening on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.base.errors import LimitError
from agent.base.host.https import Response
from agent.base.linux.file_systems import TrackedConnection
from agent.base.value import replace
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.kubernetes.queries import METADATA
from agent.cluster.reader import LIMITS, read_running
from agent.findings.impact import Break, Impact
from agent.findings.impact.evaluation import Inputs, evaluate
from agent.harden.settings.schema import Settings
from agent.k3s.roles_and_versions import NEWEST_KNOWN

Json = dict[str, Any]

NAMESPACES = ("default", "kube-system", "kube-public", "shop")
DAY = "2026-12-02"
SERVER_ARGUMENTS = json.dumps(["server"])


class Api:
    """Answers GET requests with the objects of a list."""

    def __init__(self, objects: Sequence[Json]) -> None:
        self.objects = objects
        self.asked: list[str] = []

    def get(self, path: str, accept: str) -> Response:
        self.asked.append(path)
        name = path.partition("?")[0].rpartition("/")[2]
        if name == "version":
            return Response(200, b'{"gitVersion": "v1.37.2+k3s1"}')
        found = [item for item in self.objects if plural(item["kind"]) == name]
        return self.answer(found, path, accept)

    def answer(self, items: list[Json], path: str, accept: str) -> Response:
        assert path
        assert accept
        return Response(200, json.dumps({"kind": "List", "metadata": {}, "items": items}).encode())


class PagedApi(Api):
    """Answers with pages, as far as these are not too large."""

    def answer(self, items: list[Json], path: str, accept: str) -> Response:
        asked = parse_qs(urlsplit(path).query)
        if "limit" not in asked:
            return super().answer(items, path, accept)
        start = int(asked.get("continue", ["0"])[0])
        end = start + int(asked["limit"][0])
        page = [{"metadata": item["metadata"]} if accept == METADATA else item for item in items[start:end]]
        following = {"continue": str(end)} if end < len(items) else {}
        body = json.dumps({"kind": "List", "metadata": following, "items": page}).encode()
        if len(body) > LIMITS.body:
            raise LimitError("the answer is too large")
        return Response(200, body)


def plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("s"):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def thing(kind: str, name: str, namespace: str = "", **more: Any) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"kind": kind, "metadata": metadata, **more}


def namespace(name: str, **labels: str) -> Json:
    return thing("Namespace", name, metadata={"labels": {"kubernetes.io/metadata.name": name, **labels}})


def node(
    name: str, address: str, *, server: bool = False, external: str = "", arguments: str = SERVER_ARGUMENTS
) -> Json:
    number = address.rpartition(".")[2]
    addresses = [{"type": "InternalIP", "address": address}]
    addresses += [{"type": "ExternalIP", "address": external}] * bool(external)
    labels = {"node-role.kubernetes.io/control-plane": "true"} if server else {}
    annotations = {"k3s.io/node-args": arguments} if arguments else {}
    metadata, spec = {"labels": labels, "annotations": annotations}, {"podCIDR": f"10.42.{number}.0/24"}
    return thing("Node", name, metadata=metadata, spec=spec, status={"addresses": addresses})


def container(*ports: int, env: str = "", **more: Any) -> Json:
    variables = [{"name": "TARGET", "value": env}] if env else []
    listed = [{"containerPort": port} for port in ports]
    return {"name": "main", "image": "x", "ports": listed, "env": variables, **more}


def pod(name: str, own: str, address: str, *containers: Json, on: str = "n1", **spec: Any) -> Json:
    labels = {"app": name, **spec.pop("labels", {})}
    metadata = {"labels": labels, **spec.pop("metadata", {})}
    body = {"nodeName": on, "containers": list(containers) or [container(8080)], **spec}
    status = {"podIPs": [{"ip": address}], "phase": "Running"}
    return thing("Pod", name, own, metadata=metadata, spec=body, status=status)


def service(name: str, own: str, port: int = 80, target: int = 8080, **spec: Any) -> Json:
    status = spec.pop("status", {})
    ports = [{"port": port, "targetPort": target, **spec.pop("port_more", {})}]
    body = {"selector": {"app": name}, "clusterIP": "10.43.0.1", "ports": ports, **spec}
    return thing("Service", name, own, spec=body, status=status)


def endpoints(name: str, own: str, *addresses: str, port: int = 8080) -> Json:
    metadata = {"labels": {"kubernetes.io/service-name": name}}
    listed = [{"addresses": [address]} for address in addresses]
    ports = [{"port": port, "protocol": "TCP"}]
    return thing("EndpointSlice", f"{name}-1", own, metadata=metadata, endpoints=listed, ports=ports)


def policy(name: str, own: str, **spec: Any) -> Json:
    return thing("NetworkPolicy", name, own, spec={"podSelector": {}, "policyTypes": ["Ingress"], **spec})


BASE = (
    *map(namespace, NAMESPACES),
    node("n1", "10.0.0.1", server=True),
    node("n2", "10.0.0.2"),
    *(thing("ServiceAccount", "default", name, automountServiceAccountToken=False) for name in NAMESPACES),
)
"""Two nodes, of which one is a server, and namespaces whose accounts hand out no tokens."""
WEB = (pod("web", "default", "10.42.1.5"), service("web", "default"), endpoints("web", "default", "10.42.1.5"))


def impact(
    *objects: Json,
    settings: Settings | None = None,
    connections: tuple[TrackedConnection, ...] = (),
    base: Sequence[Json] = BASE,
    api: type[Api] = Api,
    level: PodSecurityLevel = PodSecurityLevel.PRIVILEGED,
    **more: Any,
) -> Impact:
    """Return the impact on BASE with these objects; `level` is the Pod Security level of the settings."""
    running = read_running(api([*base, *objects]))
    levels = (PodSecurityDefaults(PodSecurityLevel.PRIVILEGED), PodSecurityDefaults(level))
    inputs = Inputs("https://api", running, settings or Settings(), NEWEST_KNOWN, *levels, DAY, connections)
    return evaluate(replace(inputs, **more))


def broken(*objects: Json, **more: Any) -> dict[str, Break]:
    """Return what breaks by object, except pods of which not all clients are known."""
    found = (entry for entry in impact(*objects, **more).breaks if entry.reasons[0].field != "ports")
    return {str(entry.object): entry for entry in found}
