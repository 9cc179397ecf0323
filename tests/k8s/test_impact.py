"""`impact` on a cluster of two nodes: what it names is what the NetworkPolicies cut, and its rules admit that.

Each row is a connection between a client and a target. The objects that declare them, and the expectations, are
written by hand; the verdicts are those of kube-router and kube-proxy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
import yaml

from agent.harden.changes.state import hash_of_machine
from agent.harden.guide.manifests import network_policies
from agent.verbs.traffic_records import Record, record_content
from tests.k8s import pods
from tests.k8s.binaries import Binaries
from tests.k8s.two_nodes import TwoNodes

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

OUTSIDE, NODE_1 = "outside", "node-1"
VIP, BEHIND_NAT, EXTERNAL = "203.0.113.1", "203.0.113.2", "203.0.113.3"


class Row(NamedTuple):
    """A connection."""

    client: str
    """namespace/pod, or OUTSIDE, or NODE_1 for a process of that node."""
    target: str
    """The address; the name of a pod stands for its address."""
    port: int
    object: str = ""
    """What `impact` names for it; empty if it stays."""
    protocol: str = "tcp"


ROWS = (
    # ClusterIP and pod IP, from other namespaces and from the same one, on one node and on two.
    Row("shop/front", "web", 8080, "shop/Pod/front"),
    Row("shop/front", "10.43.1.1", 80, "shop/Pod/front"),
    Row("shop/far", "10.43.1.1", 80, "shop/Pod/far"),
    Row("default/peer", "10.43.1.1", 80),
    Row("default/peer", "web", 8080),
    Row("shop/front", "db", 5432, "shop/Pod/front"),
    Row("shop/far", "app", 8080, "shop/Pod/far"),
    Row("shop/far", "public", 8080, "shop/Pod/far"),
    Row("shop/front", "resolver", 5353, "shop/Pod/front", "udp"),
    # A pod with the network of its node.
    Row("shop/host-client", "web", 8080),
    Row("shop/host-client", "db", 5432, "shop/Pod/host-client"),
    Row("shop/front", "10.99.0.2", 8088),
    # From outside.
    Row(OUTSIDE, "10.99.0.1", 30080, "default/Service/web"),
    Row(OUTSIDE, "10.99.0.2", 30080, "default/Service/web"),
    Row(NODE_1, "10.99.0.1", 30080),
    Row(OUTSIDE, EXTERNAL, 80, "default/Service/external"),
    Row(OUTSIDE, "10.99.0.1", 9090, "default/Pod/hostport"),
    Row(OUTSIDE, VIP, 80, "default/Service/balanced"),
    Row(OUTSIDE, "10.99.0.1", 8090, "shop/Service/nat"),
    Row(OUTSIDE, BEHIND_NAT, 8090),
    Row(OUTSIDE, "10.99.0.1", 30081),
    Row(OUTSIDE, "10.99.0.1", 8000),
    # Through K3s' ingress controller, scraped, and called by the API server.
    Row("kube-system/traefik", "web", 8080, "default/Ingress/site"),
    Row("kube-system/traefik", "shop", 8080),
    Row("shop/prometheus", "dns", 9153, "kube-system/Service/kube-dns"),
    Row("shop/front", "dns", 53, "", "udp"),
    Row("shop/front", "10.43.0.10", 53, "", "udp"),
    Row("shop/front", "metrics-server", 10250),
    Row(NODE_1, "hook", 8443, "ValidatingWebhookConfiguration/far"),
    Row(NODE_1, "web", 8080),
    Row(NODE_1, "metrics-server", 10250),
    # Declared by nothing: only connection tracking shows it.
    Row("shop/front", "quiet", 8080, "default/Pod/quiet"),
    # Not policed.
    Row("default/peer", "shop", 8080),
    Row("kube-system/app", "shop", 8080),
    # A policy of the site admits some, and cut others before.
    Row("shop/front", "guarded", 8080),
)


class App(NamedTuple):
    """A published application in `default`, and the workload in `shop` that its documentation lets use it."""

    name: str
    port: int
    way: str
    """How the client has the name of the Service, or ingress."""
    client: str = ""
    text: str = ""

    @property
    def row(self) -> Row:
        """Its connection. Nothing that may be read declares one that is configured by a Secret."""
        if self.way == "ingress":
            return Row("kube-system/traefik", self.name, self.port, f"default/Ingress/{self.name}")
        return Row(f"shop/{self.client}", self.name, self.port, f"shop/Pod/{self.client}" * (self.way != "secret"))


APPS = (
    App("mariadb", 3306, "env", "wordpress", "mariadb.default:3306"),
    App("postgresql", 5432, "env", "nextcloud", "postgresql.default.svc.cluster.local"),
    App("redis-master", 6379, "env", "harbor-core", "redis://:pass@redis-master.default:6379/2"),
    App("mongodb", 27017, "env", "rocketchat", "mongodb://u:p@mongodb.default:27017/rocketchat?replicaSet=rs0"),
    App("kafka", 9092, "env", "akhq", "kafka-0.kafka.default.svc.cluster.local:9092,kafka-1.elsewhere.example:9092"),
    App("vault", 8200, "env", "external-secrets", "http://vault.default:8200"),
    App("jaeger-collector", 4317, "env", "hotrod", "http://jaeger-collector.default:4317"),
    App("opensearch", 9200, "env", "graylog", "http://admin:x@opensearch.default:9200"),
    App("consul", 8500, "env", "nomad", "consul.default.svc.cluster.local"),
    App("nats", 4222, "wait", "benthos", "tcp:nats.default:4222"),
    App("clickhouse", 8123, "wait", "plausible", "tcp:clickhouse.default.svc:8123"),
    App("minio", 9000, "file", "velero", "s3:\n  endpoint: http://minio.default.svc:9000\n"),
    App(
        "elasticsearch",
        9200,
        "file",
        "fluent-bit",
        "[OUTPUT]\n  Name es\n  Host elasticsearch.default.svc\n  Port 9200\n",
    ),
    App("loki", 3100, "file", "promtail", "clients:\n  - url: http://loki.default:3100/loki/api/v1/push\n"),
    App("thanos", 9090, "file", "grafana", "datasources:\n  - url: http://thanos.default:9090\n"),
    App("etcd", 2379, "file", "apisix", "etcd:\n  host:\n    - http://etcd.default:2379\n"),
    App("memcached", 11211, "alias", "mastodon", "memcached:11211"),
    App("mysql", 3306, "slice", "keycloak", "jdbc:mysql://mysql/keycloak"),
    App("cnpg-rw", 5432, "secret", "miniflux", "postgresql://app:pass@cnpg-rw.default:5432/app"),
    App("rabbitmq", 5672, "secret", "celery", "amqp://app:pass@rabbitmq.default:5672"),
    App("gitea", 3000, "ingress"),
    App("argocd-server", 8080, "ingress"),
    App("dex", 5556, "ingress"),
    App("oncall", 8080, "ingress"),
    App("vaultwarden", 8080, "ingress"),
)
APP_ROWS = tuple(app.row for app in APPS)
TRACKED = {f"default/Pod/{app.name}" for app in APPS if app.way == "secret"}
"""What only connection tracking shows, for two minutes after a connection."""
BEHIND = {
    ("10.43.1.1", 80): ("web", 8080),
    ("10.99.0.1", 30080): ("web", 8080),
    ("10.99.0.2", 30080): ("web", 8080),
    (EXTERNAL, 80): ("web", 8080),
    (VIP, 80): ("web", 8080),
}
"""The pod and port behind other addresses."""
_NETWORKING = "networking.k8s.io/v1"
_LB = "svccontroller.k3s.cattle.io/svcname"


def pod(name: str, own: str, *serve: str, on: int = 1, env: str = "", **more: Any) -> dict[str, Any]:
    """Return a pod on a node that serves and declares ports, and names hosts in its environment."""
    found = pods.pod(name, own, *serve, labels=more.pop("labels", None), as_root=True)
    container = found["spec"]["containers"][0]
    container["ports"] = [
        {"containerPort": int(text.split(":")[1]), "protocol": text.split(":")[0].upper(), **more.pop("port", {})}
        for text in serve
    ]
    container["env"] = [{"name": "TARGETS", "value": env}]
    found["spec"] |= {"nodeName": f"node-{on}", "automountServiceAccountToken": False, **more}
    return found


def service(name: str, own: str, port: int, target: int, address: str = "", **spec: Any) -> dict[str, Any]:
    app, protocol, number = spec.pop("app", name), spec.pop("protocol", "TCP"), spec.pop("node_port", 0)
    ports = [{"port": port, "targetPort": target, "protocol": protocol, **({"nodePort": number} if number else {})}]
    metadata = {"name": name, "namespace": own, "annotations": spec.pop("annotations", {})}
    body = {"selector": {"app": app}, "ports": ports, **({"clusterIP": address} if address else {}), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def objects() -> list[Mapping[str, Any]]:
    """Return the cluster: Services first, so that pods find them."""
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": "9153"}
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    hook = {"service": {"namespace": "default", "name": "hook", "port": 443}, "caBundle": ""}
    rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["things"], "operations": ["CREATE"]}
    return [
        service("web", "default", 80, 8080, "10.43.1.1", type="NodePort", node_port=30080),
        service("db", "default", 5432, 5432),
        service("resolver", "default", 53, 5353, protocol="UDP"),
        service("external", "default", 80, 8080, app="web", externalIPs=[EXTERNAL]),
        service("balanced", "default", 80, 8080, app="web", type="LoadBalancer"),
        service("hook", "default", 443, 8443),
        service("guarded", "default", 80, 8080),
        service("app", "kube-system", 80, 8080),
        service("traefik", "kube-system", 8000, 8000, type="LoadBalancer"),
        service("kube-dns", "kube-system", 53, 53, "10.43.0.10", app="dns", protocol="UDP", annotations=scraped),
        service("metrics-server", "kube-system", 443, 10250),
        service("public", "kube-public", 80, 8080),
        service("shop", "shop", 80, 8080, type="NodePort", node_port=30081),
        service("nat", "shop", 8090, 8080, app="shop", type="LoadBalancer"),
        {
            "apiVersion": _NETWORKING,
            "kind": "Ingress",
            "metadata": {"name": "site", "namespace": "default"},
            "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "far"},
            "webhooks": [
                {
                    "name": "far.example.com",
                    "clientConfig": hook,
                    "rules": [rule],
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }
            ],
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "guarded", "namespace": "default"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "guarded"}},
                "ingress": [
                    {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}]}
                ],
            },
        },
        pod("web", "default", "tcp:8080"),
        pod("db", "default", "tcp:5432", on=2),
        pod("resolver", "default", "udp:5353", on=2),
        pod("hook", "default", "tcp:8443", on=2),
        pod("guarded", "default", "tcp:8080", on=2),
        pod("quiet", "default", "tcp:8080"),
        pod("hostport", "default", "tcp:8081", port={"hostPort": 9090}),
        pod("host-server", "default", "tcp:8088", on=2, hostNetwork=True),
        pod("peer", "default", on=2, env="http://web.default"),
        pod("dns", "kube-system", "udp:53", "tcp:53", "tcp:9153", labels={"k8s-app": "kube-dns"}),
        pod("metrics-server", "kube-system", "tcp:10250", on=2, labels={"k8s-app": "metrics-server"}),
        pod("traefik", "kube-system", "tcp:8000", labels={"app.kubernetes.io/name": "traefik"}),
        pod("svclb-traefik", "kube-system", "tcp:8000", on=1, labels={_LB: "traefik"}, port={"hostPort": 8000}),
        pod("svclb-nat", "kube-system", "tcp:8090", on=1, labels={_LB: "nat"}, port={"hostPort": 8090}),
        pod("app", "kube-system", "tcp:8080", on=2, env="shop.shop:80"),
        pod("public", "kube-public", "tcp:8080"),
        pod("shop", "shop", "tcp:8080"),
        pod(
            "front",
            "shop",
            env="http://web.default/ db.default:5432 resolver.default:53 guarded.default kube-dns.kube-system"
            " metrics-server.kube-system",
        ),
        pod(
            "far", "shop", on=2, env="http://web.default app.kube-system:80 http://public.kube-public.svc.cluster.local"
        ),
        pod("host-client", "shop", env="db.default:5432 http://web.default", hostNetwork=True),
        pod("prometheus", "shop", on=2),
    ]


def apps() -> Iterator[Mapping[str, Any]]:
    """Yield their objects; the addresses of a Service without a selector come later."""
    for at, app in enumerate(APPS):
        yield service(app.name, "default", app.port, app.port)
        yield pod(app.name, "default", f"tcp:{app.port}", on=1 + at % 2)
        metadata = {"name": app.name, "namespace": "shop"}
        if app.way == "ingress":
            backend = {"service": {"name": app.name, "port": {"number": app.port}}}
            rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
            metadata["namespace"] = "default"
            yield {"apiVersion": _NETWORKING, "kind": "Ingress", "metadata": metadata, "spec": {"rules": rules}}
            continue
        client = pod(app.client, "shop", on=2 - at % 2, env=app.text * (app.way in {"env", "slice"}))
        container = client["spec"]["containers"][0]
        if app.way == "wait":
            client["spec"]["initContainers"] = [{**container, "name": "wait", "args": ["connect", app.text]}]
        elif app.way == "file":
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config": app.text}}
            client["spec"]["volumes"] = [{"name": "config", "configMap": {"name": app.name}}]
        elif app.way == "secret":
            yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"uri": app.text}}
            container["env"] = [{"name": "URI", "valueFrom": {"secretKeyRef": {"name": app.name, "key": "uri"}}}]
        elif app.way == "alias":
            container["env"] = [{"name": "CACHE_HOST", "value": app.text}]
            spec = {"type": "ExternalName", "externalName": f"{app.name}.default.svc.cluster.local"}
            yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        elif app.way == "slice":
            ports = [{"port": app.port}]
            yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}
        yield client


class Network:
    """The running cluster."""

    def __init__(self, nodes: TwoNodes) -> None:
        self.nodes = nodes
        self.server = nodes.server
        self.addresses: dict[str, str] = {}

    def start(self) -> None:
        self.server.create_namespaces("shop")
        everything = [*objects(), *apps()]
        self.server.apply(*(item for item in everything if item["kind"] != "Pod"))
        self.addresses = self.server.run_pods(*(item for item in everything if item["kind"] == "Pod"))
        self.server.apply(*(self._slice(app) for app in APPS if app.way == "slice"))
        for name, own, address in (
            ("balanced", "default", VIP),
            ("nat", "shop", BEHIND_NAT),
            ("traefik", "kube-system", VIP),
        ):
            status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
            self.server.kubectl(
                "patch", "service", name, "-n", own, "--subresource=status", "--type=merge", "-p", status
            )
        for name in ("node-1", "node-2"):
            self.server.kubectl("annotate", "node", name, 'k3s.io/node-args=["server"]')
        self.server.kubectl("label", "node", "node-1", "node-role.kubernetes.io/control-plane=true")

    def _slice(self, app: App) -> Mapping[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": app.name, "namespace": "shop", "labels": {"kubernetes.io/service-name": app.name}},
            "addressType": "IPv4",
            "ports": [{"port": app.port}],
            "endpoints": [{"addresses": [self.addresses[app.name]]}],
        }

    def reached(self, wanted: Iterable[Row] = ROWS) -> dict[Row, bool]:
        found: dict[Row, bool] = {}
        for client in dict.fromkeys(row.client for row in wanted):
            rows = {self._address(row): row for row in wanted if row.client == client}
            answers = dict(line.split() for line in self._connect(client, [*rows]).splitlines())
            found |= {row: answers[address] == "true" for address, row in rows.items()}
        return found

    def until(self, expected: Mapping[Row, bool]) -> dict[Row, bool]:
        """Wait until these connections succeed or fail, and return what does."""
        deadline = time.monotonic() + 60
        while True:
            found = self.reached(expected)
            different = {row for row, admitted in expected.items() if found[row] != admitted}
            if not different:
                return found
            assert time.monotonic() < deadline, different

    def breaks(self, *options: str) -> list[dict[str, Any]]:
        """Return what NetworkPolicies break."""
        done = self.server.harden("impact", "--format", "json", *options)
        assert done.returncode == 3, done.stderr
        return [item for item in json.loads(done.stdout)["breaks"] if item["topic"] == "NetworkPolicies"]

    def impact(self) -> dict[str, list[Any]]:
        """Return the rules that `impact` proposes, by object; an object can break at several times."""
        found: dict[str, list[Any]] = {}
        for item in self.breaks():
            if item["allow"]:
                found.setdefault(title(item), []).extend(item["allow"])
        return found

    def record(self) -> str:
        """Write records of a day of both nodes, with the connections that only a Secret declares."""
        now, place = int(time.time()), "/root/records"
        for item in self.server.get("nodes")["items"]:
            machine = hash_of_machine(item["status"]["nodeInfo"]["machineID"])
            chosen = [app for app in APPS if app.way == "secret"]
            seen = {(f"shop/{app.client}", f"default/{app.name}", app.port, "TCP"): (now - 60, now) for app in chosen}
            record = Record(item["metadata"]["name"], machine, now - 90_000, now, 86_400, connections=seen)
            self.server.write(f"{place}/{record.node}.json", record_content(record), mode=0o600)
        return place

    def _address(self, row: Row) -> str:
        return f"{row.protocol}:{self.addresses.get(row.target, row.target)}:{row.port}"

    def _connect(self, client: str, addresses: Sequence[str]) -> str:
        if client == OUTSIDE:
            return self.nodes.connect_from_outside(addresses)
        if client == NODE_1:
            return self.server.run(self.server.binaries.path("tools"), "connect", *addresses, check=True).stdout
        own, _, name = client.partition("/")
        return self.server.kubectl("exec", f"--namespace={own}", name, "--", *pods.connect(*addresses))


@pytest.fixture(scope="module")
def network(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with TwoNodes(tmp_path_factory.mktemp("two-nodes"), binaries) as nodes:
        found = Network(nodes)
        found.start()
        yield found


def title(item: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (item["namespace"], item["kind"], item["name"])))


def test_published_applications_are_cut_as_announced_and_come_back_by_the_proposed_rules(network: Network) -> None:
    """What only a Secret declares is named by connection tracking, and listed as not determined in any case."""
    declared = {row.object for row in (*ROWS, *APP_ROWS)} - {"", "default/Pod/quiet"}
    network.until(dict.fromkeys(APP_ROWS, True))
    breaks = network.breaks()
    assert {title(item) for item in breaks if item["allow"]} - TRACKED - {"default/Pod/quiet"} == declared
    undetermined = {title(item) for item in breaks if not item["determined"]}
    assert undetermined >= {f"default/Pod/{app.name}" for app in APPS}
    breaks = network.breaks("--connections", network.record())
    assert {title(item) for item in breaks if item["allow"]} - {"default/Pod/quiet"} == declared | TRACKED
    assert {title(item) for item in breaks if not (item["determined"] or item["allow"])} == {"default/Pod/resolver"}
    policies = [item for item in yaml.safe_load_all(network_policies()) if item]
    for item in policies:
        # As K3s' deploy controller creates them.
        item["metadata"]["annotations"] = {"objectset.rio.cattle.io/owner-name": "policy"}
    network.server.apply(*policies)
    network.until(dict.fromkeys(APP_ROWS, False))
    cut = network.breaks()
    assert {title(item) for item in cut if item["when"] == "now"} == declared
    rules = [rule["network_policy"] for item in breaks for rule in item["allow"]]
    network.server.apply(*rules)
    network.until(dict.fromkeys(APP_ROWS, True))
    assert not [item for item in network.breaks() if item["when"] == "now"]
    for item in (*policies, *rules):
        name, own = item["metadata"]["name"], item["metadata"]["namespace"]
        network.server.kubectl("delete", "networkpolicy", name, "-n", own, "--ignore-not-found")


def test_what_impact_names_is_cut_and_its_rules_admit_it(network: Network) -> None:
    network.until(dict.fromkeys(ROWS, True))
    named = network.impact()
    assert set(named) - TRACKED == {row.object for row in (*ROWS, *APP_ROWS)} - {""}
    named = {name: rules for name, rules in named.items() if any(row.object == name for row in ROWS)}
    network.server.apply(*(item for item in yaml.safe_load_all(network_policies()) if item))
    hardened = {row: not row.object for row in ROWS}
    network.until(hardened)
    assert network.impact() == {}
    for name, rules in named.items():
        own = {row for row in ROWS if row.object == name}
        policies = [rule["network_policy"] for rule in rules]
        network.server.apply(*policies)
        network.until(dict.fromkeys(own, True))
        # Not the first round: pods are open for an instant while kube-router changes its chains.
        admitted = {row for row, is_open in network.reached().items() if is_open and not hardened[row]}
        is_for_all = all("from: anywhere" in rule["setting"] for rule in rules)
        clients = {row.client for row in (ROWS if is_for_all else own)}
        ends = set(map(end, own))
        assert admitted == {row for row in ROWS if row.object and row.client in clients and end(row) in ends}, name
        for policy in policies:
            metadata = policy["metadata"]
            network.server.kubectl("delete", "networkpolicy", metadata["name"], "-n", metadata["namespace"])
        network.until(hardened)


def end(row: Row) -> tuple[str, int]:
    return BEHIND.get((row.target, row.port), (row.target, row.port))
