"""Which nodes differ from most nodes of their role."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.node_status import parse_node
from tests.unit.cluster.fleet.sample_nodes import NOW, node


def differing(*items: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what differs, by node; equal nodes are left out."""
    fleet = make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(1e9))
    return {found.name: found.differs for found in fleet.nodes if found.differs}


def servers(*arguments: str, **annotations: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - as of a node
    return [node(f"usual-{at}", role="server", arguments=list(arguments), **annotations) for at in range(2)]


@pytest.mark.parametrize(
    ("usual", "other", "expected"),
    [
        (["--flannel-backend", "none"], ["--flannel-backend=none"], ""),
        (["--flannel-backend=none"], ["--flannel-backend=vxlan"], "--flannel-backend is vxlan, most have none"),
        (["--secrets-encryption"], ["--secrets-encryption", "true"], ""),
        (["--secrets-encryption"], [], "--secrets-encryption is not set, most have true"),
        ([], ["--debug"], "--debug is true, most have none"),
        (["-d", "/data"], ["--data-dir", "/data"], ""),
        (
            ["--kube-apiserver-arg", "audit-log-maxage=30", "--kube-apiserver-arg=profiling=false"],
            ["--kube-apiserver-arg", "profiling=false", "--kube-apiserver-arg", "audit-log-maxage=7"],
            "--kube-apiserver-arg audit-log-maxage is 7, most have 30",
        ),
        (["--disable", "traefik", "--disable", "servicelb"], ["--disable", "servicelb", "--disable", "traefik"], ""),
        (["--cluster-init"], ["--server", "https://a:6443", "--node-ip", "10.0.0.2", "--node-label", "a=b"], ""),
        (["--token", "********"], ["--token", "", "--agent-token", "********"], ""),
    ],
)
def test_arguments_are_compared_by_their_meaning(usual: list[str], other: list[str], expected: str) -> None:
    found = differing(*servers(*usual), node("other", role="server", arguments=other))
    assert found == ({"other": (expected,)} if expected else {})


def test_arguments_are_compared_only_within_a_role_and_version() -> None:
    """During an upgrade, the defaults of another version are no difference; the version itself is one."""
    agents = [node(f"agent-{at}", arguments=["--debug"]) for at in range(3)]
    newer = node("newer", role="server", arguments=["--debug"], version="v1.38.1+k3s1")
    assert differing(*servers(), *agents, newer) == {"newer": ("K3s is v1.38.1+k3s1, most have v1.37.3+k3s1",)}


def test_files_of_apply_are_compared_by_their_digests() -> None:
    usual = json.dumps({"/a/psa.yaml": "1", "/a/policy.yaml": "2"})
    other = node("other", role="server", file_digests=json.dumps({"/a/psa.yaml": "9", "/b": "3"}))
    expected = ("/a/psa.yaml has other content", "/a/policy.yaml is missing", "/b has other content")
    assert differing(*servers(file_digests=usual), other) == {"other": expected}
    assert differing(*servers(file_digests=usual), node("old", role="server")) == {}


def test_a_node_without_a_report_is_not_compared_with_reports() -> None:
    assert differing(node("a"), node("b"), node("silent", published=None)) == {}


def test_settings_of_the_program_are_compared() -> None:
    other = node("other", version="v1.37.3+k3s1", profile="strict", benchmark="cis-1.11")
    expected = ("benchmark is cis-1.11, most have cis-2.0", "profile is strict, most have cis")
    assert differing(node("a"), node("b"), other) == {"other": expected}


def test_stages_and_waivers_of_servers_are_compared_by_their_digests() -> None:
    """Two servers with other stages overwrite each other's policy.yaml. Agents can have other waivers."""
    usual = servers(stages="0" * 16, waivers="0" * 16)
    assert differing(*usual, node("agent", stages="1" * 16, waivers="1" * 16)) == {}
    other = node("other", role="server", stages="1" * 16, waivers="0" * 16)
    assert differing(*usual, other) == {"other": ("stages differ",)}
    two = (node(name, role="server", waivers=name * 16) for name in "ab")
    assert differing(*two) == {"a": ("waivers differ",), "b": ("waivers differ",)}


def test_two_nodes_that_differ_are_both_reported() -> None:
    one, two = (node(name, role="server", arguments=[f"--flannel-backend={name}"]) for name in ("host-gw", "vxlan"))
    assert differing(one, two) == {
        name: (f"--flannel-backend is {name}, no value is usual",) for name in ("host-gw", "vxlan")
    }
    assert differing(one) == {}


def test_invalid_annotations_are_not_compared() -> None:
    for text in ("{", "[1, {}]", '"server"', "[" * 5000, "null", '{"a": 1}'):
        item = node("other", file_digests=text)
        item["metadata"]["annotations"]["k3s.io/node-args"] = text
        assert differing(node("a"), node("b"), item) == {}


def calls(count: int, unique: int) -> int:
    """Return how many functions are called for a fleet whose nodes have so many arguments of their own."""
    words = [[f"--only-{count}-{at}-{number}=1" for number in range(unique)] for at in range(count)]
    items = [parse_node(node(f"n{at}", arguments=own)) for at, own in enumerate(words)]
    found = 0

    def count_call(_frame: object, event: str, _argument: object) -> None:
        nonlocal found
        found += event in {"call", "c_call"}

    sys.setprofile(count_call)
    try:
        make_fleet(items, NOW.timestamp(), Requirement(1e9))
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(("count", "unique"), [(1000, 0), (100, 20)])
def test_the_work_is_linear_in_the_number_of_nodes(count: int, unique: int) -> None:
    calls(10, unique)
    assert calls(5 * count, unique) < 5.2 * calls(count, unique)


@pytest.mark.parametrize(("digests", "is_named"), [(("a", "b"), True), (("a", "a"), False), (("a", None), False)])
def test_servers_with_different_policies_do_not_meet_the_requirement(
    digests: tuple[str | None, ...], *, is_named: bool
) -> None:
    """Each is compliant by its own settings."""
    path = "/var/lib/rancher/k3s/server/manifests/policy.yaml"
    servers = [
        node(f"server-{at}", role="server", file_digests=digest and json.dumps({path: digest}))
        for at, digest in enumerate(digests)
    ]
    agent = node("agent-1", file_digests=json.dumps({path: "c"}))
    nodes = [*map(parse_node, [*servers, agent])]
    fleet = make_fleet(nodes, NOW.timestamp(), Requirement(1e9, is_compliant=True))
    text = "servers overwrite each other's policy.yaml: server-0, server-1"
    assert fleet.problems == ([text] if is_named else [])
    assert make_fleet(nodes, NOW.timestamp(), Requirement(1e9)).problems == []
