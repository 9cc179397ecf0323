"""Which connections the NetworkPolicies of the guide cut, and the rules that admit them.

The expectations are those that were seen with kube-router on two nodes; tests/k8s/test_impact.py repeats them.
"""

from __future__ import annotations

import pytest

from agent.findings.impact import When
from tests.unit.findings.impact.sample_cluster import (
    WEB,
    Json,
    broken,
    container,
    endpoints,
    pod,
    policy,
    service,
    thing,
)

OPEN_WEB = "{namespace: default, pods: {app: web}, ports: [8080], from: anywhere}"
FRONT = pod("front", "shop", "10.42.2.5", container(env="http://web.default"), on="n2")
TRAEFIK = pod("t", "kube-system", "10.42.1.8", container(8000), labels={"app.kubernetes.io/name": "traefik"})


def balancer(name: str, own: str, port: int = 80) -> Json:
    labels = {"svccontroller.k3s.cattle.io/svcname": name, "svccontroller.k3s.cattle.io/svcnamespace": own}
    return pod(
        f"svclb-{name}",
        "kube-system",
        "10.42.1.9",
        {"name": "lb", "image": "klipper", "ports": [{"containerPort": port, "hostPort": port}]},
        labels=labels,
    )


def load_balancer(name: str, own: str, *addresses: str, mode: str = "VIP") -> Json:
    ingress = [{"ip": address, "ipMode": mode} for address in addresses]
    return service(name, own, type="LoadBalancer", status={"loadBalancer": {"ingress": ingress}})


def ingress(own: str, name: str) -> Json:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    return thing("Ingress", "site", own, spec={"rules": [{"http": {"paths": [{"backend": backend}]}}]})


def webhook(name: str, own: str, called: str) -> Json:
    client = {"service": {"namespace": own, "name": called, "port": 80}}
    return thing("ValidatingWebhookConfiguration", name, webhooks=[{"name": "x", "clientConfig": client}])


SHOP_WEB = (pod("web", "shop", "10.42.1.5"), service("web", "shop"), endpoints("web", "shop", "10.42.1.5"))
METRICS = pod("ms", "kube-system", "10.42.1.7", container(10250), labels={"k8s-app": "metrics-server"})


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param([*WEB, FRONT], {"shop/Pod/front"}, id="a name in the environment of another namespace"),
        pytest.param(
            [*WEB, pod("front", "shop", "10.42.2.5", {"name": "x", "image": "x", "args": ["--to=10.43.0.1:80"]})],
            {"shop/Pod/front"},
            id="the address of a Service in an argument",
        ),
        pytest.param(
            [*WEB, pod("peer", "default", "10.42.2.5", container(env="web.default"))], set(), id="same namespace"
        ),
        pytest.param([*SHOP_WEB, pod("x", "default", "10.42.2.5", container(env="web.shop"))], set(), id="not policed"),
        pytest.param(
            [WEB[0], WEB[2], service("web", "default", type="NodePort", port_more={"nodePort": 30080})],
            {"default/Service/web"},
            id="NodePort",
        ),
        pytest.param(
            [WEB[0], WEB[2], service("web", "default", externalIPs=["192.0.2.1"])],
            {"default/Service/web"},
            id="externalIPs",
        ),
        pytest.param(
            [
                pod(
                    "web",
                    "default",
                    "10.42.1.5",
                    {"name": "x", "image": "x", "ports": [{"containerPort": 1, "hostPort": 2}]},
                )
            ],
            {"default/Pod/web"},
            id="hostPort",
        ),
        pytest.param(
            [pod("web", "default", "10.0.0.1", container(8080), hostNetwork=True), *WEB[1:], FRONT],
            set(),
            id="hostNetwork server",
        ),
        pytest.param([*WEB, TRAEFIK, ingress("default", "web")], {"default/Ingress/site"}, id="Ingress to default"),
        pytest.param([*SHOP_WEB, TRAEFIK, ingress("shop", "web")], set(), id="Ingress elsewhere"),
        pytest.param([*WEB, webhook("w", "default", "web")], {"ValidatingWebhookConfiguration/w"}, id="webhook"),
        pytest.param(
            [
                METRICS,
                service("ms", "kube-system", 443, 10250),
                endpoints("ms", "kube-system", "10.42.1.7", port=10250),
                thing(
                    "APIService", "v1beta1.metrics.k8s.io", spec={"service": {"namespace": "kube-system", "name": "ms"}}
                ),
            ],
            set(),
            id="APIService of metrics-server",
        ),
        pytest.param(
            [load_balancer("web", "default", "10.0.0.1"), *WEB[::2], balancer("web", "default")],
            {"default/Service/web"},
            id="LoadBalancer with the address of the packets, policed backend",
        ),
        pytest.param(
            [load_balancer("web", "shop", "10.0.0.1"), *SHOP_WEB[::2], balancer("web", "shop")],
            set(),
            id="LoadBalancer with the address of the packets, other backend",
        ),
        pytest.param(
            [load_balancer("web", "shop", "198.51.100.1"), *SHOP_WEB[::2], balancer("web", "shop")],
            {"shop/Service/web"},
            id="LoadBalancer behind a NAT, other backend",
        ),
        pytest.param(
            [load_balancer("web", "shop", "10.0.0.1", mode="Proxy"), *SHOP_WEB[::2], balancer("web", "shop")],
            {"shop/Service/web"},
            id="LoadBalancer with ipMode Proxy",
        ),
        pytest.param(
            [load_balancer("traefik", "kube-system", "198.51.100.1"), TRAEFIK, balancer("traefik", "kube-system")],
            set(),
            id="LoadBalancer of Traefik",
        ),
        pytest.param(
            [
                pod(
                    "dns",
                    "kube-system",
                    "10.42.1.6",
                    container(53, 9153),
                    labels={"k8s-app": "kube-dns"},
                    metadata={"annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9153"}},
                ),
                pod("prometheus", "shop", "10.42.2.6"),
            ],
            {"kube-system/Pod/dns"},
            id="scraped CoreDNS",
        ),
        pytest.param([*WEB, FRONT, policy("own", "default", ingress=[{}])], set(), id="a policy of the site admits it"),
        pytest.param(
            [*WEB, FRONT, policy("own", "default", ingress=[])], set(), id="a policy of the site cuts it already"
        ),
    ],
)
def test_exactly_the_paths_that_are_cut_are_named(objects: list[Json], expected: set[str]) -> None:
    assert set(broken(*objects)) == expected


def test_the_rule_for_a_path_from_outside_has_the_pods_and_the_port() -> None:
    (found,) = broken(
        WEB[0], WEB[2], service("web", "default", type="NodePort", port_more={"nodePort": 30080})
    ).values()
    assert [rule.setting for rule in found.allow] == [OPEN_WEB]
    assert found.when is When.AT_ONCE
