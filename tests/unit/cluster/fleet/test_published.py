"""Which published reports count, and their age."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Manual, NotInK3s
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.cluster.fleet.published import LEAST_EVALUATED, FleetNode, fleet_node
from agent.cluster.node_status import Annotation, PublishedResult, parse_node
from agent.harden.settings.schema import Publish, Settings
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import ALL_VERSIONS, Role
from agent.verbs.node_publication import node_annotations, node_condition
from tests.fake import in_memory
from tests.unit.assess.checks.nodes import node as checked_node
from tests.unit.cluster.fleet.sample_nodes import NOW, node, without_managed_fields
from tests.unit.verbs.test_assess import NODES


def seen(item: Any, max_age: float = 26 * 3600) -> FleetNode:  # noqa: ANN401 - any JSON
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
