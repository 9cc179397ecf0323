"""The nodes of a cluster as plain lines, table, JSON and HTML."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from agent.cluster.fleet.members import Fleet, Requirement, make_fleet
from agent.cluster.kubernetes.objects import ClusterNode
from agent.cluster.node_status import PublishedResult, parse_node
from agent.k3s.roles_and_versions import ended_on
from agent.reports.fleet_report import present_fleet
from agent.reports.formats import FLEET_FORMATS, Format, Verbosity
from tests.json_schemas import validator
from tests.unit.cluster.fleet.sample_nodes import NOW, node, without_managed_fields
from tests.unit.reports.test_html import Page

VALIDATOR = validator("fleet")
FAILED: dict[str, Any] = {"result": "failed", "passed": "34", "failed": "2", "failed_controls": "a-control,b-control"}
SINCE = "2027-02-28T00:00:00Z"
ONE_FAILED = {**FAILED, "passed": "35", "failed": "1", "failed_controls": "b-control", "drifting_since": SINCE}
HOSTILE = "\x1b[2J\r\n</td><script>alert(1)</script>\u202e&\x00 K10abc::server:s3cret"


def fleet(*items: object, **required: Any) -> Fleet:
    return make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(26 * 3600.0, **required))


def shown(found: Fleet, output_format: Format = Format.PLAIN, selected: Sequence[str] = tuple(PublishedResult)) -> str:
    stream = io.StringIO()
    present_fleet(found, output_format, Verbosity.NORMAL, stream, selected)
    return stream.getvalue()


def valid_json(found: Fleet) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(shown(found, Format.JSON))
    VALIDATOR.validate(document)
    return document


MIXED = fleet(
    node("a-1", **FAILED),
    node("a-2", **ONE_FAILED),
    node("s-1", role="server"),
    without_managed_fields(node("a-3")),
    node("a-4", published=None),
    is_compliant=True,
)


def _of(cluster: str, *items: object) -> list[ClusterNode]:
    return [parse_node(item)._replace(cluster=cluster) for item in items]


SITES = make_fleet(
    [
        *_of("oslo", node("o-1", **FAILED), node("o-2", postponed="1", postponed_until="2027-03-31")),
        *_of("rome", node("r-1")),
        ClusterNode("", is_ready=False, cluster="down", unknown="cannot read it"),
    ],
    NOW.timestamp(),
    Requirement(26 * 3600.0, expected=3),
)


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE])
def test_several_clusters_have_totals_and_one_that_was_not_read_a_row(output_format: Format) -> None:
    """It is no node: three are expected, and there are three."""
    lines = shown(SITES, output_format).splitlines()
    totals = [
        *("oslo: 1 compliant, 1 failed, 0 unknown", "down: 0 compliant, 0 failed, 1 unknown"),
        "rome: 1 compliant, 0 failed, 0 unknown",
    ]
    assert [line for line in lines if line in totals] == totals
    assert [line for line in lines if line.startswith("down") and "cannot read it" in line]
    assert SITES.problems == []


def test_waivers_that_end_this_month_are_named() -> None:
    nodes = [node("a", waived_until="2027-03-31"), node("b", waived_until="2027-04-01"), node("c")]
    assert "a waiver ends this month on 1: a on 2027-03-31" in shown(fleet(*nodes)).splitlines()
    assert "this month" not in shown(fleet(*nodes[1:]))


def test_postponed_nodes_can_be_selected() -> None:
    lines = shown(SITES, selected=["postponed"]).splitlines()
    assert [line.split("\t")[1] for line in lines if "\t" in line] == ["o-2"]


def test_the_json_is_valid() -> None:
    for found in (MIXED, SITES, fleet(), fleet(*(node(f"n{at}", **FAILED) for at in range(50))), fleet(None)):
        document = valid_json(found)
        assert document["exit_code"] == int(found.exit_code)
        assert all(len(names) in {1, 2, 50} for names in document["nodes_by_failed_control"].values())


@pytest.mark.parametrize(
    ("items", "required", "problems"),
    [
        ([], {}, ["found 0 nodes, expected some"]),
        ([], {"is_compliant": True}, ["found 0 nodes, expected some"]),
        ([node()], {}, []),
        ([node(**FAILED)], {}, []),
        ([node()], {"is_compliant": True, "expected": 1}, []),
        ([node()], {"expected": 2}, ["found 1 node, expected 2"]),
        ([node("a"), node("b")], {"expected": 1}, ["found 2 nodes, expected 1"]),
        ([node("a", **FAILED), node("b")], {"is_compliant": True, "expected": 2}, ["not compliant: a"]),
        ([node("a"), node("b", published=None)], {"is_compliant": True}, ["not compliant: b"]),
        ([node("a"), node("b", published=30)], {"is_compliant": True}, ["not compliant: b"]),
    ],
)
def test_the_requirement_holds_only_exactly(items: list[object], required: dict[str, Any], problems: list[str]) -> None:
    """Without nodes, nothing is compliant."""
    found = fleet(*items, **required)
    assert list(found.problems) == problems
    assert int(found.exit_code) == (3 if problems else 0)


@pytest.mark.parametrize("output_format", FLEET_FORMATS)
def test_texts_of_nodes_control_neither_a_terminal_nor_a_page(output_format: Format) -> None:
    """Each text that a node can write is escaped, bounded and without secrets."""
    texts: dict[str, Any] = dict.fromkeys(("benchmark", "profile", "drifting_since", "failed_controls"), HOSTILE)
    hostile = node(HOSTILE, **texts)
    hostile["status"]["nodeInfo"]["kubeletVersion"] = HOSTILE
    hostile["status"]["conditions"][1]["message"] = HOSTILE
    failed = node(HOSTILE + "2", **FAILED)
    failed["status"]["conditions"][1]["message"] = HOSTILE * 100
    failed["metadata"]["annotations"]["k3s.io/node-args"] = json.dumps(
        ["agent", f"--{HOSTILE}", HOSTILE, f"--{'x' * 50_000}-token", "s"]
    )
    text = shown(fleet(hostile, failed, node("c"), node("d"), is_compliant=True), output_format)
    assert "s3cret" not in text
    assert not set(text) & set("\x1b\r\x00\u202e")
    assert len(text) < (42_000 if output_format is Format.HTML else 20_000)
    if output_format is Format.HTML:
        page = Page(text)
        assert "<script>alert" not in text
        assert [item for tag, item in page.tags if tag != "use" and item.keys() & {"src", "href"}] == []
        assert "default-src 'none'" in text
    elif output_format is Format.PLAIN:
        assert len(text.splitlines()) == 7


LONG = ["--kube-apiserver-arg=tls-cipher-suites=" + "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256," * 3]


@pytest.mark.parametrize("columns", [60, 80, 100, 132])
def test_a_terminal_never_breaks_a_word(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Only a word that is longer than a line exceeds it. The columns that have no room are named."""
    monkeypatch.setenv("COLUMNS", str(columns))
    items = [node(f"n-{at}", **FAILED, arguments=LONG if at == 0 else []) for at in range(40)]
    lines = shown(fleet(*items, is_compliant=True), Format.TABLE).splitlines()
    assert all(len(line) <= columns or len(line.split()) == 1 for line in lines)
    text = " ".join(" ".join(lines).split())
    assert ("also shows: k3s-harden" in text) == (columns < 100)
    assert "a-control failed on 40: n-0, n-1, n-2," in text
    assert "most have none" in text


@pytest.mark.parametrize(
    ("version", "remark"),
    [
        ("v1.34.9+k3s1", "v1.34.9+k3s1 has no security fixes since 2026-10-27"),
        ("v1.23.1+k3s1", "v1.23.1+k3s1 has no security fixes since 2023-02-28"),
        ("v1.37.3+k3s1", "-"),
        ("v1.99.1+k3s1", "-"),
        ("v1.x", "-"),
    ],
)
def test_a_version_after_its_end_of_life_is_a_remark(version: str, remark: str) -> None:
    """The result does not change. A version that the table does not have is supported."""
    found = fleet(node(version=version), is_compliant=True)
    assert shown(found).splitlines()[0].split("\t")[9] == remark
    assert found.exit_code == 0
    assert valid_json(found)


def test_on_its_last_day_a_version_is_supported() -> None:
    assert [ended_on(34, f"2026-10-{day}") for day in (26, 27, 28)] == ["", "", "2026-10-27"]


def test_problems_are_first_and_names_in_natural_order() -> None:
    """Within a result, servers come before agents."""
    names = ("work-10", "work-2", "cp-10", "cp-9", "x-1", "x-02", "x-2")
    roles = ("agent", "agent", "server", "server", "agent", "agent", "agent")
    changes: list[dict[str, Any]] = [{}, {}, {}, {}, {"published": None}, FAILED, FAILED]
    found = fleet(*(node(name, role=role, **change) for name, role, change in zip(names, roles, changes)))
    assert [row.name for row in found.nodes] == ["x-02", "x-2", "x-1", "cp-9", "cp-10", "work-2", "work-10"]


@pytest.mark.parametrize("output_format", FLEET_FORMATS)
def test_each_format_shows_a_cluster_without_nodes(output_format: Format) -> None:
    assert shown(fleet(), output_format)


def test_only_some_results_are_shown_and_all_are_counted() -> None:
    first, *others = shown(MIXED, selected=[PublishedResult.UNKNOWN]).splitlines()
    assert first.split("\t")[1] == "a-4"
    assert [line for line in others if "\t" in line] == []
    assert others[-1].startswith("result 3: 2 compliant, 2 failed, 1 unknown; not compliant: a-1, a-2, a-4")


def test_nodes_of_equal_names_are_told_apart_by_their_cluster() -> None:
    """They are compared only within their cluster."""
    arguments = {"a": ["--flannel-backend=none"], "b": ["--flannel-backend=host-gw"]}
    nodes = [
        parse_node(node(f"cp-{at}", role="server", arguments=arguments[name]))._replace(cluster=name)
        for name in "ba"
        for at in range(3)
    ]
    found = make_fleet(nodes, NOW.timestamp(), Requirement(26 * 3600.0))
    assert [row.full_name for row in found.nodes] == ["a/cp-0", "a/cp-1", "a/cp-2", "b/cp-0", "b/cp-1", "b/cp-2"]
    assert not any(row.differs for row in found.nodes)
    assert [line.split("\t")[:2] for line in shown(found).splitlines()[:2]] == [["a", "cp-0"], ["a", "cp-1"]]
    names = [report["metadata"]["name"] for report in json.loads(shown(found, Format.OPENREPORTS))["items"]]
    assert len(set(names)) == 6
    assert valid_json(found)


CHOSEN: dict[str, Any] = {"waived": "13", "postponed": "2", "postponed_until": "2027-03-31", "left_open": "5"}
NOTHING: dict[str, Any] = {"waived": "0", "postponed": "0", "left_open": "5", "profile": "guide"}


def test_what_a_site_chose_is_compliant_but_never_without_a_remark() -> None:
    found = fleet(node("a", **CHOSEN, profile="guide"), is_compliant=True)
    first, last = shown(found).splitlines()
    assert first.split("\t")[9] == "13 waived; 2 postponed until 2027-03-31; 5 left open by profile guide"
    assert last == "result 0: 1 compliant, 0 failed, 0 unknown; 1 with a waiver or a stage"
    (row,) = valid_json(found)["nodes"]
    assert {name: row[name] for name in CHOSEN} == {
        "waived": 13,
        "postponed": 2,
        "postponed_until": "2027-03-31",
        "left_open": 5,
    }
    assert "13 waived; 2 postponed until " in shown(found, Format.HTML)


@pytest.mark.parametrize(
    ("changes", "is_full"),
    [
        (NOTHING, True),
        ({**NOTHING, "waived": "1"}, False),
        ({**NOTHING, "postponed": "1", "postponed_until": "2027-03-31"}, False),
        ({**NOTHING, "waived": None}, False),
        ({**NOTHING, "postponed": "-1"}, False),
    ],
)
def test_full_means_no_waiver_and_no_stage(changes: dict[str, Any], is_full: bool) -> None:
    """A node that does not publish the counts, such as one with an older version, can have some."""
    found = fleet(node("a", **changes), is_compliant=True, is_full=True)
    assert (not found.problems) is is_full
    assert fleet(node("a", **changes), is_compliant=True).problems == []
    assert is_full or found.problems == ["with a waiver or a stage: a"]


def test_a_gate_that_observes_is_shown() -> None:
    found = fleet(node("a", **FAILED, observing_since="2026-11-30"))
    assert "the gate observes since 2026-11-30" in shown(found).splitlines()[0]


def test_what_the_hardening_breaks_is_shown_and_breaks_no_requirement() -> None:
    found = fleet(node("a", broken="2"), node("b", broken="0"), is_compliant=True, is_full=True)
    assert not any("broken" in problem for problem in found.problems)
    first, second, *_ = shown(found).splitlines()
    assert "the hardening breaks 2 objects, which `k3s-harden impact` lists" in first
    assert "the hardening breaks" not in second


def test_many_nodes_without_a_problem_are_texts_that_a_script_shows_on_request() -> None:
    """Each has a tenth of the bytes of a row. A problem has its row in any case."""
    calm = [node(f"</script>n{at}") for at in range(201)]
    page = shown(fleet(*calm, node("bad", **FAILED)), Format.HTML)
    assert page.count('role="row" data-result="compliant"') == 1  # the template
    assert page.count('role="row" data-result="failed"') == 1
    assert "201 compliant nodes without a remark" in page
    text = page.partition('class="calm-nodes">')[2].partition("</script>")[0]
    assert sorted(row[1] for row in json.loads(text)) == sorted(item["metadata"]["name"] for item in calm)
    assert shown(fleet(*calm[:200]), Format.HTML).count('role="row" data-result="compliant"') == 200


def test_the_page_of_ten_thousand_nodes_is_small() -> None:
    page = shown(fleet(*(node(f"n{at}") for at in range(10_000))), Format.HTML)
    assert len(page) < 2_000_000
