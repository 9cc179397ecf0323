"""Which connections the NetworkPolicies of the guide cut, and the rules that admit them.

The expectations are those that were seen with kube-router on two nodes; tests/k8s/test_impact.py repeats them.
"""

from __future__ import annotations

from typing import Any

import pytest

from agent.base.linux.file_systems import TrackedConnection
from agent.base.repair import RunVerb
from agent.base.value import replace
from agent.findings.impact import When
from agent.findings.impact.traffic import expected_policies
from agent.harden.settings.schema import Settings
from tests.unit.findings.impact.sample_cluster import (
    BASE,
    WEB,
    Json,
    broken,
    container,
    endpoints,
    impact,
    node,
    pod,
    policy,
    service,
    thing,
)

OPEN_WEB = "{namespace: default, pods: {app: web}, ports: [8080], from: anywhere}"
CLIENT = {"shop/Pod/front"}
OWN_MAP = [{"configMapRef": {"name": "own"}}]
NODE_PORT = service("web", "default", type="NodePort", port_more={"nodePort": 30080})
TRAEFIK = pod("t", "kube-system", "10.42.1.8", container(8000), labels={"app.kubernetes.io/name": "traefik"})


def client(env: str = "", *, own: str = "shop", **more: Any) -> Json:
    return pod("front", own, "10.42.2.5", container(env=env, **more), on="n2")


FRONT = client("http://web.default")


def host_port(port: int, on_host: int) -> Json:
    return container(ports=[{"containerPort": port, "hostPort": on_host}])


def alias(target: str) -> Json:
    return thing("Service", "alias", "shop", spec={"type": "ExternalName", "externalName": target})


def balancer(name: str, own: str) -> Json:
    labels = {"svccontroller.k3s.cattle.io/svcname": name, "svccontroller.k3s.cattle.io/svcnamespace": own}
    return pod(f"svclb-{name}", "kube-system", "10.42.1.9", host_port(80, 80), labels=labels)


def load_balancer(name: str, own: str, address: str, mode: str = "VIP") -> Json:
    ingress = [{"ip": address, "ipMode": mode}]
    return service(name, own, type="LoadBalancer", status={"loadBalancer": {"ingress": ingress}})


def balanced(own: str, address: str, mode: str = "VIP") -> list[Json]:
    backend = (pod("web", own, "10.42.1.5"), endpoints("web", own, "10.42.1.5"))
    return [load_balancer("web", own, address, mode), *backend, balancer("web", own)]


def ingress(own: str, name: str) -> Json:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    return thing("Ingress", "site", own, spec={"rules": [{"http": {"paths": [{"backend": backend}]}}]})


def webhook(name: str, own: str, called: str) -> Json:
    client = {"service": {"namespace": own, "name": called, "port": 80}}
    return thing("ValidatingWebhookConfiguration", name, webhooks=[{"name": "x", "clientConfig": client}])


SHOP_WEB = (pod("web", "shop", "10.42.1.5"), service("web", "shop"), endpoints("web", "shop", "10.42.1.5"))
DATABASE = (
    pod("db", "default", "10.42.1.5", container(5432)),
    service("db", "default", 5432, 5432),
    endpoints("db", "default", "10.42.1.5", port=5432),
)
METRICS = pod("ms", "kube-system", "10.42.1.7", container(10250), labels={"k8s-app": "metrics-server"})


PATHS: dict[str, tuple[list[Json], set[str]]] = {
    "a name in the environment of another namespace": ([*WEB, FRONT], CLIENT),
    "the address of a Service in an argument": ([*WEB, client(args=["--to=10.43.0.1:80"])], CLIENT),
    "same namespace": ([*WEB, client("web.default", own="default")], set()),
    "not policed": ([*SHOP_WEB, client("web.shop", own="default")], set()),
    "NodePort": ([*WEB[::2], NODE_PORT], {"default/Service/web"}),
    "externalIPs": ([*WEB[::2], service("web", "default", externalIPs=["192.0.2.1"])], {"default/Service/web"}),
    "hostPort": ([pod("web", "default", "10.42.1.5", host_port(1, 2))], {"default/Pod/web"}),
    "hostNetwork server": ([pod("web", "default", "10.0.0.1", hostNetwork=True), *WEB[1:], FRONT], set()),
    "Ingress to default": ([*WEB, TRAEFIK, ingress("default", "web")], {"default/Ingress/site"}),
    "Ingress elsewhere": ([*SHOP_WEB, TRAEFIK, ingress("shop", "web")], set()),
    "webhook": ([*WEB, webhook("w", "default", "web")], {"ValidatingWebhookConfiguration/w"}),
    "APIService of metrics-server": (
        [
            METRICS,
            service("ms", "kube-system", 443, 10250),
            endpoints("ms", "kube-system", "10.42.1.7", port=10250),
            thing("APIService", "v1beta1.metrics.k8s.io", spec={"service": {"namespace": "kube-system", "name": "ms"}}),
        ],
        set(),
    ),
    "LoadBalancer, the address of the packets, policed": (balanced("default", "10.0.0.1"), {"default/Service/web"}),
    "LoadBalancer, the address of the packets, another backend": (balanced("shop", "10.0.0.1"), set()),
    "LoadBalancer behind a NAT, another backend": (balanced("shop", "198.51.100.1"), {"shop/Service/web"}),
    "LoadBalancer with ipMode Proxy": (balanced("shop", "10.0.0.1", mode="Proxy"), {"shop/Service/web"}),
    "LoadBalancer of Traefik": (
        [load_balancer("traefik", "kube-system", "198.51.100.1"), TRAEFIK, balancer("traefik", "kube-system")],
        set(),
    ),
    "scraped CoreDNS": (
        [
            pod(
                *("dns", "kube-system", "10.42.1.6", container(53, 9153)),
                labels={"k8s-app": "kube-dns"},
                metadata={"annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9153"}},
            ),
            pod("prometheus", "shop", "10.42.2.6"),
        ],
        {"kube-system/Pod/dns"},
    ),
    "the URI of a database": ([*DATABASE, client("postgresql://app:pass@db.default/app")], CLIENT),
    "a name in a ConfigMap of the environment": (
        [
            *DATABASE,
            thing("ConfigMap", "own", "shop", data={"DB_HOST": "db.default.svc.cluster.local", "DB_PORT": "5432"}),
            client(envFrom=OWN_MAP),
        ],
        CLIENT,
    ),
    "a name in a ConfigMap of a volume": (
        [
            *DATABASE,
            thing("ConfigMap", "own", "shop", data={"app.yaml": "database:\n  host: db.default\n"}),
            pod("front", "shop", "10.42.2.5", volumes=[{"name": "v", "configMap": {"name": "own"}}]),
        ],
        CLIENT,
    ),
    "a ConfigMap that the pod does not use": (
        [
            *DATABASE,
            thing("ConfigMap", "other", "shop", data={"host": "db.default"}),
            thing("ConfigMap", "own", "team", data={"host": "db.default"}),
            client(envFrom=OWN_MAP),
        ],
        set(),
    ),
    "an ExternalName": ([*DATABASE, alias("db.default.svc.x"), client("postgres://app@alias/app")], CLIENT),
    "an ExternalName of itself": ([alias("alias.shop"), client("http://alias")], set()),
    "a Service without a selector": (
        [
            DATABASE[0],
            service("db", "shop", 5432, 5432, selector={}),
            endpoints("db", "shop", "10.42.1.5", port=5432),
            client(args=["wait", "db:5432"]),
        ],
        CLIENT,
    ),
    "a repository of Argo CD": (
        [
            *WEB,
            pod("argocd-repo-server", "shop", "10.42.2.5"),
            thing("Application", "site", "shop", spec={"sources": [{"repoURL": "http://web.default/site.git"}]}),
        ],
        {"shop/Application/site"},
    ),
    "a policy of the site admits it": ([*WEB, FRONT, policy("own", "default", ingress=[{}])], set()),
    "a policy of the site cuts it already": ([*WEB, FRONT, policy("own", "default", ingress=[])], set()),
}
"""Objects of a cluster, and those that break."""


@pytest.mark.parametrize(("objects", "expected"), PATHS.values(), ids=PATHS)
def test_exactly_the_paths_that_are_cut_are_named(objects: list[Json], expected: set[str]) -> None:
    assert set(broken(*objects)) == expected


def test_the_rule_for_a_path_from_outside_has_the_pods_and_the_port() -> None:
    (found,) = broken(*WEB[::2], NODE_PORT).values()
    assert [rule.setting for rule in found.allow] == [OPEN_WEB]
    assert found.when is When.AT_ONCE


def test_a_webhook_is_cut_only_while_the_api_server_is_on_another_node() -> None:
    near = broken(*WEB, webhook("w", "default", "web"))["ValidatingWebhookConfiguration/w"]
    assert (near.when, near.condition) == (When.NEXT_PODS, "if the pod is on another node than the API server")
    there = pod("web", "default", "10.42.1.5", on="n2")
    far = broken(there, *WEB[1:], webhook("w", "default", "web"))["ValidatingWebhookConfiguration/w"]
    assert (far.when, far.condition) == (When.NEXT_CONNECTION, "")
    assert [rule.sources for rule in far.allow] == [("10.0.0.1/32", "10.42.1.0/32", "10.42.1.1/32")]


def test_a_client_with_the_network_of_its_node_reaches_pods_of_this_node() -> None:
    client = pod("agent", "shop", "10.0.0.1", container(env="web.default:80"), hostNetwork=True)
    second = pod("web2", "default", "10.42.2.5", on="n2", labels={"app": "web"})
    ends = endpoints("web", "default", "10.42.1.5", "10.42.2.5")
    found = broken(client, WEB[0], second, WEB[1], ends)["shop/Pod/agent"]
    assert found.condition == "unless client and pod share a node"


def test_a_rule_selects_no_other_pod_of_the_namespace() -> None:
    """Pods share the label `app`, so the rule has both labels; the client's rule has the only one that differs."""
    own = {"app": "x", "tier": "web"}
    objects = [
        pod("web", "default", "10.42.1.5", labels=own),
        pod("db", "default", "10.42.1.6", labels={"app": "x", "tier": "db"}),
        service("web", "default", selector=own),
        endpoints("web", "default", "10.42.1.5"),
        FRONT,
        pod("other", "shop", "10.42.2.9", on="n2"),
    ]
    (rule,) = broken(*objects)["shop/Pod/front"].allow
    assert rule.setting == (
        "{namespace: default, pods: {app: x, tier: web}, ports: [8080], from: {namespace: shop, pods: {app: front}}}"
    )


def test_a_policy_of_the_site_with_the_name_of_ours_is_named() -> None:
    found = broken(policy("intra-namespace", "default", ingress=[{}]))
    assert set(found) == {"default/NetworkPolicy/intra-namespace"}
    ours = policy("intra-namespace", "default", ingress=[{}])
    ours["metadata"]["annotations"] = {"objectset.rio.cattle.io/owner-name": "policy"}
    assert broken(ours) == {}


def test_what_a_replaced_policy_admitted_is_cut() -> None:
    assert set(broken(*WEB, FRONT, policy("intra-namespace", "default", ingress=[{}]))) == {
        "default/NetworkPolicy/intra-namespace",
        "shop/Pod/front",
    }


def test_what_a_policy_admitted_that_policy_yaml_does_not_have_any_more_is_cut() -> None:
    """K3s deletes the objects of its Addon that the file does not have."""
    rule: dict[str, Any] = {"from": [{"namespaceSelector": {}}]}
    removed = policy("allow-1", "default", podSelector={"matchLabels": {"app": "web"}}, ingress=[rule])
    assert broken(*WEB, FRONT, removed) == {}
    removed["metadata"]["annotations"] = {"objectset.rio.cattle.io/owner-name": "policy"}
    assert set(broken(*WEB, FRONT, removed)) == {"shop/Pod/front"}


def test_open_connections_are_named_unless_a_declared_path_covers_them() -> None:
    def seen(client: str, port: int = 8080) -> TrackedConnection:
        return TrackedConnection("TCP", client, "10.42.1.5", port)

    cut = (seen("10.42.2.7", 9090), seen("198.51.100.7"), seen("10.0.0.2"))
    stays = (seen("10.42.2.5"), seen("10.42.1.1"), seen("10.42.1.6", 9090), seen("10.0.0.1"))
    objects = (*WEB, FRONT, pod("batch", "shop", "10.42.2.7", on="n2"), pod("peer", "default", "10.42.1.6"))
    found = broken(*objects, connections=(*cut, *stays))
    entry = found["default/Pod/web"]
    assert entry.when is When.NEXT_CONNECTION
    assert [reason.found for reason in entry.reasons] == [
        "1 from shop/Pod/batch to port 9090",
        "1 from outside, 198.51.100.7 to port 8080",
        "1 from node n2 to port 8080",
    ]
    assert [rule.sources for rule in entry.allow][1:] == [
        ("198.51.100.7/32",),
        ("10.0.0.2/32", "10.42.2.0/32", "10.42.2.1/32"),
    ]


def unknown(*objects: Json, **more: Any) -> dict[str, str]:
    """Return the ports of which not all clients are known, by object."""
    found = (entry for entry in impact(*objects, **more).breaks if entry.reasons[0].field == "ports")
    return {str(entry.object): entry.reasons[0].found.partition(",")[0] for entry in found if not entry.is_certain}


STRANGER = pod("x", "shop", "10.42.1.8")


def test_pods_that_others_could_use_are_named_one_by_one() -> None:
    pods = (
        *(pod(name, "default", f"10.42.1.{name}") for name in "56"),
        pod("c", "default", "10.42.1.7", {"name": "x"}),
    )
    assert impact(*pods).breaks == ()
    assert unknown(*pods, STRANGER) == {"default/Pod/5": "8080", "default/Pod/6": "8080"}


def test_a_port_that_only_a_service_names_is_one() -> None:
    web = pod("web", "default", "10.42.1.5", {"name": "x", "image": "x"})
    assert unknown(web, *WEB[1:], STRANGER) == {"default/Pod/web": "8080"}
    elsewhere = (service("web", "shop", selector={}), endpoints("web", "shop", "10.42.1.5"))
    assert unknown(web, *elsewhere, STRANGER) == {"default/Pod/web": "8080"}


def test_a_known_client_hides_no_other_one() -> None:
    """Another program can have the address in a Secret."""
    assert unknown(*WEB, FRONT) == {"default/Pod/web": "8080"}


def test_the_proposed_rules_make_nothing_undetermined() -> None:
    proposed = broken(*WEB, FRONT)["shop/Pod/front"].allow
    settings = replace(Settings(), network_policy_allow=proposed)
    assert broken(*WEB, FRONT, settings=settings) == {}
    assert unknown(*WEB, FRONT, settings=settings) == unknown(*WEB, FRONT)


@pytest.mark.parametrize(
    "arguments", ['["server", "--disable-network-policy"]', '["server", "--flannel-backend", "none"]', ""]
)
def test_nothing_is_certain_if_another_program_may_enforce_policies(arguments: str) -> None:
    others = [node(name, f"10.0.0.{number}", arguments=arguments) for number, name in ((1, "n1"), (2, "n2"))]
    found = impact(*WEB, FRONT, *others, base=[item for item in BASE if item["kind"] != "Node"])
    certain = {str(entry.object): entry.is_certain for entry in found.breaks}
    assert certain == dict.fromkeys(("Cluster", "shop/Pod/front", "default/Pod/web"), False)


def test_namespaces_of_the_settings_are_policed() -> None:
    settings = replace(Settings(), network_policy_namespaces=("shop",))
    client = pod("x", "default", "10.42.2.5", container(env="web.shop"))
    assert set(broken(*SHOP_WEB, client, settings=settings)) == {"default/Pod/x"}


def test_a_controller_without_pods_is_a_client_and_a_target() -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container(8080)]}}
    web = thing("Deployment", "web", "default", spec={"replicas": 0, "template": template})
    job = {"template": {"spec": {"containers": [container(env="web.default")]}}}
    nightly = thing("CronJob", "nightly", "shop", spec={"jobTemplate": {"spec": job}})
    (rule,) = broken(web, WEB[1], nightly)["shop/CronJob/nightly"].allow
    assert rule.setting == "{namespace: default, pods: {app: web}, ports: [8080], from: {namespace: shop}}"


def in_effect(settings: Settings | None = None) -> list[Json]:
    """Return the NetworkPolicies of policy.yaml as K3s has created them."""
    created: Json = {"annotations": {"objectset.rio.cattle.io/owner-name": "policy"}}
    return [
        thing("NetworkPolicy", found.name, found.namespace, metadata=created, spec={**found.spec})
        for found in expected_policies(settings or Settings())
    ]


@pytest.mark.parametrize(("objects", "expected"), PATHS.values(), ids=PATHS)
def test_exactly_the_paths_that_are_cut_now_are_named(objects: list[Json], expected: set[str]) -> None:
    found = broken(*objects, *in_effect())
    assert set(found) == expected
    assert {entry.when for entry in found.values() if not entry.condition} <= {When.NOW}
    assert impact(*objects, *in_effect()).breaks == tuple(found.values()), "no pods without a known client"


def test_a_path_that_is_cut_now_has_the_rule_that_admits_it_or_the_apply_that_adds_the_rule() -> None:
    (found,) = impact(*WEB, FRONT, *in_effect()).breaks
    allowing = replace(Settings(), network_policy_allow=found.allow)
    (left,) = impact(*WEB, FRONT, *in_effect(), settings=allowing).breaks
    postponed = replace(Settings(), stage_network_policies=False)
    (removed,) = impact(*WEB, FRONT, *in_effect(), settings=postponed).breaks
    assert [entry.repair.steps for entry in (left, removed)] == [(RunVerb("apply"),)] * 2
    assert impact(*WEB, FRONT, *in_effect(allowing), settings=allowing).breaks == ()


def test_it_is_said_that_policies_in_effect_can_cut_clients_that_only_a_secret_names() -> None:
    said = [any("address in a Secret" in note for note in impact(*WEB, *more).notes) for more in ([], in_effect())]
    assert said == [False, True]


def test_an_open_connection_that_survived_the_policies_breaks_when_it_is_opened_again() -> None:
    client = pod("client", "shop", "10.42.1.6")
    found = impact(*WEB, client, *in_effect(), connections=(TrackedConnection("TCP", "10.42.1.6", "10.42.1.5", 8080),))
    assert [(str(entry.object), entry.when) for entry in found.breaks] == [("default/Pod/web", When.NEXT_CONNECTION)]
