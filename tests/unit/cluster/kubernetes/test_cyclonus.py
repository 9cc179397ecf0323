"""Cases of cyclonus and of policy-assistant, its successor, as judges of which connections NetworkPolicies admit.

Read from mattfenwick/cyclonus at 12f646fb, pkg/recipes/policies.go, whose policies are those of ahmetb's recipes, named
by whom they admit; and from kubernetes-sigs/network-policy-api at 0eec1b0e, policy-assistant: matcher/policy_tests.go
and test/integration/integration_test.go, which have the result of each connection. The recipes of outgoing traffic (11,
12 and 14) restrict no incoming connection, and AdminNetworkPolicies are not in K3s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import pytest

from agent.base import yaml_reader
from agent.cluster.kubernetes.network_policies import OUTSIDE, Client, NetworkPolicy, Policies, parse_policy
from agent.cluster.kubernetes.running_objects import NetworkPod, PodPort

Labels = dict[str, str]

WEB: Labels = {"app": "web"}
ALL = frozenset({"x/a", "x/b", "x/c", "default/a", "default/b", "default/c", "y/a", "y/b", "y/c", "outside"})
PODS = ALL - {"outside"}
OWN = frozenset({"default/a", "default/b", "default/c"})
NOBODY: frozenset[str] = frozenset()


class Case(NamedTuple):
    """Policies, and from where the pod default/b is reached."""

    name: str
    policies: tuple[str, ...]
    """As YAML in one line: the spec of policies of the namespace default."""
    target: Labels
    admitted: frozenset[str]
    labels: Mapping[str, Labels] = {}
    """Of the other pods and of namespaces."""
    port: int = 80
    protocol: str = "TCP"


def selected(labels: str, rules: str, kinds: str = "Ingress") -> str:
    return f"{{podSelector: {{matchLabels: {labels}}}, policyTypes: [{kinds}], {rules}}}"


DENY_WEB = selected("{app: web}", "ingress: []")
MONITORING = {name: {"type": "monitoring"} for name in ("x/a", "default/a", "y/a")}
SEARCH, API = {"app": "bookstore", "role": "search"}, {"app": "bookstore", "role": "api"}
OF_ALL = dict(zip(("default/a", "default/c", "y/a", "y/b"), (SEARCH, API, SEARCH, API)))
ONLY_SCTP = selected("{}", "ingress: [{ports: [{protocol: SCTP}]}]")
UDP_80 = selected("{pod: a}", "ingress: [{ports: [{protocol: UDP, port: 80}]}]")
NAMED = selected("{pod: a}", "ingress: [{ports: [{protocol: TCP, port: port-hello}]}]")
POD_A = {"pod": "a"}
CASES = (
    Case("01 web-deny-all", (DENY_WEB,), WEB, NOBODY),
    Case("01 of other pods", (DENY_WEB,), {}, ALL),
    Case(
        "02 api-allow",
        (
            selected(
                "{app: bookstore, role: api}", "ingress: [{from: [{podSelector: {matchLabels: {app: bookstore}}}]}]"
            ),
        ),
        API,
        frozenset({"default/a", "default/b"}),
        {name: {"app": "bookstore"} for name in ("x/b", "default/a", "y/c")} | {"default/c": {"role": "api"}},
    ),
    Case("02A web-allow-all beside 01", (DENY_WEB, selected("{app: web}", "ingress: [{}]")), WEB, ALL),
    Case("03 default-deny-all", ("{podSelector: {}, policyTypes: [Ingress], ingress: []}",), {}, NOBODY),
    Case(
        "04 deny-from-other-namespaces",
        ("{podSelector: {matchLabels: }, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}",),
        {},
        OWN,
    ),
    Case(
        "05 web-allow-all-namespaces beside 01",
        (DENY_WEB, selected("{app: web}", "ingress: [{from: [{namespaceSelector: {}}]}]")),
        WEB,
        PODS,
    ),
    Case(
        "06 web-allow-prod",
        (selected("{app: web}", "ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: production}}}]}]"),),
        WEB,
        frozenset({"x/a", "x/b", "x/c"}),
        {"x": {"purpose": "production"}},
    ),
    Case(
        "07 web-allow-all-ns-monitoring",
        (
            selected(
                "{app: web}",
                "ingress: [{from: [{namespaceSelector: {matchLabels: {team: operations}},"
                " podSelector: {matchLabels: {type: monitoring}}}]}]",
            ),
        ),
        WEB,
        frozenset({"x/a", "y/a"}),
        {"x": {"team": "operations"}, "y": {"team": "operations"}, **MONITORING},
    ),
    Case("08 web-allow-external beside 01", (DENY_WEB, selected("{app: web}", "ingress: [{from: []}]")), WEB, ALL),
    *(
        Case(
            f"09 api-allow-5000 at {port}",
            (
                selected(
                    "{app: apiserver}",
                    "ingress: [{ports: [{port: 5000}], from: [{podSelector: {matchLabels: {role: monitoring}}}]}]",
                ),
            ),
            {"app": "apiserver"},
            admitted,
            {name: {"role": "monitoring"} for name in ("x/a", "default/a", "y/a")},
            port,
        )
        for port, admitted in ((5000, frozenset({"default/a"})), (80, NOBODY))
    ),
    Case(
        "10 redis-allow-services",
        (
            selected(
                "{app: bookstore, role: db}",
                "ingress: [{from: [{podSelector: {matchLabels: {app: bookstore, role: search}}},"
                " {podSelector: {matchLabels: {app: bookstore, role: api}}},"
                " {podSelector: {matchLabels: {app: inventory, role: web}}}]}]",
            ),
        ),
        {"app": "bookstore", "role": "db"},
        frozenset({"default/a", "default/c"}),
        OF_ALL,
    ),
    Case("11_1 foo-deny-egress", (selected("{app: foo}", "egress: []", "Egress"),), {"app": "foo"}, ALL),
    Case("12 default-deny-all-egress", (selected("{}", "egress: []", "Egress"),), {}, ALL),
    Case(
        "14 foo-deny-external-egress",
        (selected("{app: foo}", "egress: [{to: [{namespaceSelector: {}}]}]", "Egress"),),
        {"app": "foo"},
        ALL,
    ),
    Case("policy-207 of SCTP, by TCP", (ONLY_SCTP,), {}, NOBODY, {}, 103),
    Case("policy-207 of SCTP, by SCTP", (ONLY_SCTP,), {}, ALL, {}, 103, "SCTP"),
    Case("abc of a named port", (NAMED,), POD_A, ALL, {}, 8080),
    Case("abc of a named port, at another one", (NAMED,), POD_A, NOBODY, {}, 8081),
    Case("base: deny all", ("{podSelector: {}, policyTypes: [Ingress]}",), POD_A, NOBODY),
    Case("base: ingress port allowed", (UDP_80,), POD_A, ALL, {}, 80, "UDP"),
    Case("base: ingress port allowed, another port", (UDP_80,), POD_A, NOBODY, {}, 81, "UDP"),
    Case("base: ingress port allowed, another protocol", (UDP_80,), POD_A, NOBODY),
    Case("base: ingress port allowed, another pod", (UDP_80,), {"pod": "b"}, ALL, {}, 81),
)


def policy(spec: str) -> NetworkPolicy:
    text = f"metadata: {{namespace: default, name: a}}\nspec: {spec}\n"
    (document,) = yaml_reader.read_documents(text.encode(), PurePosixPath("/policy.yaml"))
    return parse_policy(yaml_reader.plain(document.node))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_pod_is_reached_from_where_the_judge_says(case: Case) -> None:
    ports = (PodPort(8080, "TCP", "port-hello", 0, "c"),)
    pod = NetworkPod(
        namespace="default",
        kind="Pod",
        name="b",
        labels=case.target,
        controller="",
        node="n",
        addresses=("10.42.0.2",),
        host_network=False,
        ports=ports,
        images=(),
        mentions=(),
        config_maps=(),
        scrape_port=None,
        is_over=False,
    )
    policies = Policies(map(policy, case.policies), {name: case.labels.get(name, {}) for name in ("x", "default", "y")})
    clients = {"outside": OUTSIDE} | {
        name: Client(name.partition("/")[0], case.target if name == "default/b" else case.labels.get(name, {}))
        for name in PODS
    }
    found = {name for name, client in clients.items() if policies.admit(client, pod, case.port, case.protocol)}
    assert found == case.admitted
