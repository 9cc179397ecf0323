"""Published reports: which ones count, which records are verified, leaked secrets, and nodes that differ."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Manual, NotInK3s
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.cluster.fleet import snapshot
from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.fleet.published import LEAST_EVALUATED, FleetNode, fleet_node
from agent.cluster.fleet.snapshot import Record, members, node_of_record, parse_keys, record_text
from agent.cluster.node_status import Annotation, PublishedResult, parse_node
from agent.harden.settings.schema import Publish, Settings
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import ALL_VERSIONS, Role
from agent.reports.fleet_report import present_fleet
from agent.reports.formats import FLEET_FORMATS, Verbosity
from agent.verbs.node_publication import node_annotations, node_condition
from tests.fake import in_memory
from tests.unit.assess.checks.nodes import node as checked_node
from tests.unit.cluster.fleet.sample_nodes import NOW, node, without_managed_fields
from tests.unit.verbs.test_assess import NODES


def seen(item: Any, max_age: float = 26 * 3600) -> FleetNode:
    return fleet_node(parse_node(item), NOW.timestamp(), max_age)


@pytest.fixture
def directory() -> Iterator[Path]:
    with in_memory() as found:
        yield found


@pytest.mark.parametrize("role", ["server", "agent"])
def test_a_recent_and_complete_report_counts(role: str) -> None:
    found = seen(node(role=role))
    assert (found.result, found.reason, found.role) == ("compliant", "", role)
    failed = seen(node(role=role, result="failed", passed="30", failed="2"))
    assert (failed.result, failed.reason) == ("failed", "2 controls failed")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"published": None}, "no report"),
        ({"result": None}, "the condition is Unknown, and the result missing"),
        ({"result": "perfect"}, "the condition is Unknown, and the result perfect"),
        ({"passed": "-36"}, "counts of controls are missing"),
        ({"passed": "many"}, "counts of controls are missing"),
        ({"evaluated": "0", "passed": "0"}, "0 controls were evaluated, expected 20 or more"),
        ({"evaluated": "19", "passed": "19"}, "19 controls were evaluated, expected 20 or more"),
        ({"evaluated": "30", "passed": "36"}, "the counts of controls contradict each other"),
        ({"passed": "34", "failed": "2"}, "the counts of controls contradict each other"),
        ({"passed": "34", "undetermined": "2"}, "the counts of controls contradict each other"),
        ({"role": "server", "evaluated": "36", "passed": "36"}, "36 controls were evaluated, expected 66 or more"),
        ({"assessed": "yesterday"}, "the report has no time"),
        ({"published": 30}, "the report is 31h old"),
        ({"published": -1}, ""),
        ({"published": -2}, "the report is from the future"),
    ],
)
def test_anything_less_is_unknown(changes: dict[str, Any], reason: str) -> None:
    found = seen(node(**changes))
    assert (found.result, found.reason) == ("unknown" if reason else "compliant", reason)


def test_a_condition_that_is_not_that_of_the_result_is_unknown() -> None:
    found = node()
    found["status"]["conditions"][1]["status"] = "False"
    assert seen(found).reason == "the condition is False, and the result compliant"
    del found["status"]["conditions"][1]
    assert seen(found).reason == "the condition is missing, and the result compliant"


def test_a_server_cannot_count_as_an_agent() -> None:
    """The role is that of K3s' label, which a kubelet cannot change, or else of its arguments."""
    found = node(role="server", evaluated="36", passed="36")
    found["metadata"]["annotations"]["k3s-harden.internal/role"] = "agent"
    assert seen(found).reason == "the report is not that of a node with the role server"
    found["metadata"]["labels"] = {}
    assert seen(found).reason == "the report is not that of a node with the role server"


@pytest.mark.parametrize("role", Role)
def test_the_least_number_of_controls_is_that_of_the_benchmarks(role: Role) -> None:
    """Other controls depend on the node: a file may not exist, or etcd may not run."""

    def is_everywhere(control: BenchmarkControl, benchmark: Benchmark) -> bool:
        is_automated = not isinstance(control.check_of(benchmark), (Manual, NotInK3s, ClusterCheck))
        is_of_all = role in control.applies.roles and control.applies.versions == ALL_VERSIONS
        return is_automated and is_of_all and not re.search("etcd|kubelet-config", control.id)

    numbered = (
        [control for control in all_controls() if benchmark in control.numbers and is_everywhere(control, benchmark)]
        for benchmark in Benchmark
    )
    assert min(map(len, numbered)) == LEAST_EVALUATED[role]


@pytest.mark.parametrize("name", NODES)
def test_what_a_node_publishes_is_complete(directory: Path, name: str) -> None:
    k3s, config = NODES[name]
    host = checked_node(directory / "node", k3s)
    if config:
        host.config(config)
    assessment = host.assess()
    role = k3s.role if k3s else "server"
    published = node_annotations(assessment, Settings(publish=Publish.DETAILS), {Annotation.ROLE: role})
    item = node(role=role, version=f"v1.{k3s.minor if k3s else 37}.1+k3s1")
    item["metadata"]["annotations"].update(published)
    item["status"]["conditions"][1].update(node_condition(assessment, ""))
    found = seen(item, max_age=1e12)
    assert found.result == published[Annotation.RESULT]
    assert "expected" not in found.reason
    assert found.failed_controls


@pytest.mark.parametrize("clock", [-24, 0, 24])
def test_the_age_does_not_depend_on_the_clock_of_the_node(clock: float) -> None:
    """The API server's clock says when the node published, and the node's how old the assessment was then."""
    found = seen(node(published=3, clock=clock))
    assert (found.age_seconds, found.age_from, found.result) == (4 * 3600, "managedFields", "compliant")


def test_without_managed_fields_the_age_is_by_the_clock_of_the_node() -> None:
    found = seen(without_managed_fields(node(published=3)))
    assert (found.age_seconds, found.age_from) == (4 * 3600, "lastHeartbeatTime")
    assert seen(without_managed_fields(node(published=3, clock=-24))).reason == "the report is from the future"


def test_failed_controls_are_ids_and_bounded() -> None:
    assert seen(node()).failed_controls is None
    assert seen(node(failed_controls="")).failed_controls == ()
    assert seen(node(failed_controls="b-1,<script>,a,a,\x1b[31m,...")).failed_controls == ("b-1", "a")
    many = seen(node(failed_controls=",".join(f"c{number}" for number in range(600)))).failed_controls
    assert many is not None
    assert len(many) == 200


def test_each_control_is_a_valid_id() -> None:
    for control in all_controls():
        assert seen(node(failed_controls=f"{control.id},...")).failed_controls == (control.id,)


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {"metadata": [], "status": "x"},
        {"metadata": {"name": 3, "annotations": {"k3s-harden.internal/result": {}}}},
        {"metadata": {"name": "x" * 9999, "managedFields": [1, {"manager": "k3s-harden"}]}},
        {"status": {"conditions": [None, {"type": []}, {"type": "k3s-harden.internal/Hardened", "status": 1}]}},
    ],
)
def test_any_json_is_a_node_without_a_report(item: object) -> None:
    found = seen(item)
    assert (found.result, found.reason) == (PublishedResult.UNKNOWN, "no report")
    assert len(found.name) < 300


@pytest.mark.parametrize("name", ["result", "benchmark", "assessed", "file_digests", "profile", "failed_controls"])
def test_long_annotations_are_not_kept(name: str) -> None:
    changes: dict[str, Any] = {name: "x" * 5000}
    item = parse_node(node(**changes))
    assert f"k3s-harden.internal/{name.replace('_', '-')}" not in item.annotations


SECRET = "hunter2hunter2"  # noqa: S105 - the test's own


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["-t", SECRET], "--token"),
        ([f"-t={SECRET}"], "--token"),
        (["--token", SECRET], "--token"),
        (["--agent-token", SECRET], "--agent-token"),
        (["--datastore-endpoint", f"postgres://k3s:{SECRET}@db/k3s"], "--datastore-endpoint"),
        (["--etcd-s3-secret-key", SECRET], "--etcd-s3-secret-key"),
        (["--unknown", f"K10abc::server:{SECRET}"], "--unknown"),
        (["--kubelet-arg", f"token={SECRET}"], "--kubelet-arg"),
        (["--token", "********"], ""),
        (["--token", ""], ""),
        (["--token"], ""),
        (["--token-file", "/etc/rancher/k3s/token"], ""),
        (["--datastore-endpoint", "********"], ""),
        (["--etcd-s3-proxy", "http://proxy:3128"], ""),
    ],
)
def test_a_secret_fails_the_node_and_is_never_printed(words: list[str], option: str) -> None:
    """Everybody who can read Nodes has it. Other nodes show the differences, and also not the secret."""
    items = [node("leaky", arguments=words), node("other"), node("third", arguments=["--token", "********"])]
    fleet = make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(1e9, is_compliant=True))
    found = next(row for row in fleet.nodes if row.name == "leaky")
    expected = f"the annotation k3s.io/node-args has the secret of {option}" if option else ""
    assert (found.result, found.reason) == ("failed" if option else "compliant", expected)
    assert bool(fleet.exit_code) is bool(option)
    for output_format in FLEET_FORMATS:
        stream = io.StringIO()
        present_fleet(fleet, output_format, Verbosity.NORMAL, stream)
        assert SECRET not in stream.getvalue()


TEXT = record_text("cp-0", "v1.37.3+k3s1", {"k3s-harden.internal/role": "server"}, {"type": "X"})
KEYS = parse_keys('# a comment\n\na,b ssh-ed25519 AAAA\nb/cp-0 namespaces="k3s-harden" ssh-rsa BBBB c\nalone\n')


def test_a_key_belongs_to_each_of_its_names() -> None:
    assert KEYS == {
        "a": "ssh-ed25519 AAAA\n",
        "b": "ssh-ed25519 AAAA\n",
        "b/cp-0": 'namespaces="k3s-harden" ssh-rsa BBBB c\n',
    }


def test_an_unchanged_record_is_not_verified_again() -> None:
    """Another text, signature, key or cluster is."""
    calls: list[str] = []

    def problem(_data: bytes, _signed: bytes, keys: str) -> str:
        calls.append(keys)
        return ""

    first = node_of_record(Record(TEXT, "s"), "a", KEYS, {}, problem)
    known = {"a/cp-0": first.verified, "b/cp-0": first.verified}
    assert (first.name, first.is_server, first.cluster, first.unknown, len(calls)) == ("cp-0", True, "a", "", 1)
    assert node_of_record(Record(TEXT, "s"), "a", KEYS, known, problem) == first
    assert len(calls) == 1
    for found, cluster, keys in (
        (Record(TEXT + " ", "s"), "a", KEYS),
        (Record(TEXT, "t"), "a", KEYS),
        (Record(TEXT, "s"), "b", KEYS),
        (Record(TEXT, "s"), "a", {**KEYS, "a": "other\n"}),
    ):
        node_of_record(found, cluster, keys, known, problem)
    assert calls[1:] == [KEYS["a"], KEYS["a"], KEYS["b/cp-0"] + KEYS["b"], "other\n"]


def test_an_invalid_signature_is_never_remembered() -> None:
    node = node_of_record(Record(TEXT, "s"), "a", KEYS, {}, lambda *_: "incorrect signature")
    assert (node.verified, node.unknown) == ("", "the signature is not valid: incorrect signature")


def test_half_a_character_is_part_of_the_verified_bytes() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def problem(data: bytes, signed: bytes, _keys: str) -> str:
        seen.append((data, signed))
        return "incorrect signature"

    assert node_of_record(Record("\ud800", "\udfff"), "a", KEYS, {}, problem).unknown.endswith("incorrect signature")
    assert seen == [(b"\xed\xa0\x80", b"\xed\xbf\xbf")]


DOCUMENTS: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "items": [{"a": [1, {"b": "]}"}]}, 2, "x", None, []], "kind": "List", "n": 12.5},
    {},
    {"items": []},
    {"n": 1},
)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("indent", [None, 200])
def test_a_stream_has_the_values_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, chunk: int, document: dict[str, object], indent: int | None
) -> None:
    """Wherever a piece of it ends."""
    monkeypatch.setattr(snapshot, "_CHUNK", chunk)
    expected = chain.from_iterable(
        [(key, []), *((f"{key}[]", item) for item in value)] if isinstance(value, list) else [(key, value)]
        for key, value in document.items()
    )
    assert list(members(io.StringIO(json.dumps(document, indent=indent)))) == list(expected)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", '{"a"', '{"a":', '{"a": 1', '{"a": 1,}', '{"a": [1,]}', '{"a": [1}', "{} {}"]
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(members(io.StringIO(text)))


def differing(*items: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what differs, by node; equal nodes are left out."""
    fleet = make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(1e9))
    return {found.name: found.differs for found in fleet.nodes if found.differs}


def servers(*arguments: str, **annotations: Any) -> list[dict[str, Any]]:
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
