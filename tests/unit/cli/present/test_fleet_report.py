"""The nodes of a cluster as plain lines, table, JSON and HTML."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.cli.present import FLEET_FORMATS, Format
from agent.cli.present.fleet_report import present_fleet
from agent.cluster.fleet.members import Fleet, Requirement, make_fleet
from agent.cluster.nodes import parse_node
from tests.unit.cluster.fleet.sample_nodes import NOW, node, without_managed_fields

SCHEMA = json.loads((Path(__file__).parents[4] / "docs/reference/fleet.schema.json").read_bytes())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FAILED: dict[str, Any] = {"result": "failed", "passed": "34", "failed": "2", "failed_controls": "a-control,b-control"}
SINCE = "2027-02-28T00:00:00Z"
ONE_FAILED = {**FAILED, "passed": "35", "failed": "1", "failed_controls": "b-control", "drifting_since": SINCE}
HOSTILE = "\x1b[2J\r\n</td><script>alert(1)</script>\u202e&\x00 K10abc::server:s3cret"


def fleet(*items: object, **required: Any) -> Fleet:  # noqa: ANN401 - fields of Requirement
    return make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(26 * 3600.0, **required))


def shown(found: Fleet, output_format: Format = Format.PLAIN) -> str:
    stream = io.StringIO()
    present_fleet(found, output_format, stream)
    return stream.getvalue()


MIXED = fleet(
    node("a-1", **FAILED),
    node("a-2", **ONE_FAILED),
    node("s-1", role="server"),
    without_managed_fields(node("a-3")),
    node("a-4", published=None),
    is_compliant=True,
)


def test_plain_has_one_line_for_each_node_and_then_the_nodes_of_each_control() -> None:
    lines = [line.split("\t") for line in shown(MIXED).splitlines()]
    assert lines[0] == ["s-1", "server", "compliant", "v1.34.3+k3s1", "0", "-", "2h", "1.0.0", "-"]
    assert [(*line[:3], *line[5:7]) for line in lines[1:5]] == [
        ("a-1", "agent", "failed", "-", "2h"),
        ("a-2", "agent", "failed", SINCE, "2h"),
        ("a-3", "agent", "compliant", "-", "2h*"),
        ("a-4", "agent", "unknown", "-", "-"),
    ]
    assert lines[4][8].startswith("no report")
    assert [line[0] for line in lines[5:]] == [
        "b-control failed on 2: a-1, a-2",
        "a-control failed on 1: a-1",
        "* by the clock of the node: without --show-managed-fields, kubectl omits the time of the API server",
        "result 3: 2 compliant, 2 failed, 1 unknown; not compliant: a-1, a-2, a-4",
    ]


def test_the_json_is_valid() -> None:
    for found in (MIXED, fleet(), fleet(*(node(f"n{at}", **FAILED) for at in range(50))), fleet(None)):
        document = json.loads(shown(found, Format.JSON))
        VALIDATOR.validate(document)
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
        ([node()], {"expected": 2}, ["found 1 nodes, expected 2"]),
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


class _Tags(HTMLParser):
    """The tags of a page, and the resources that it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href"} and tag != "use"]


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
    assert len(text) < (40_000 if output_format is Format.HTML else 20_000)
    if output_format is Format.HTML:
        tags = _Tags()
        tags.feed(text)
        assert "script" not in tags.tags
        assert tags.loaded == []
        assert "default-src 'none'" in text
    elif output_format is Format.PLAIN:
        assert len(text.splitlines()) == 7


def test_the_columns_of_the_table_are_aligned() -> None:
    """The remarks are last, where a terminal breaks them."""
    heads, *rows = shown(MIXED, Format.TABLE).splitlines()[:6]
    assert heads.split()[:4] == ["Node", "Role", "Result", "K3s"]
    assert {line.index("v1.34.3+k3s1") for line in rows} == {heads.index("K3s")}
    assert rows[4].index("no report") == heads.index("Remarks")
