"""The nodes of a cluster as a table, plain lines, HTML or JSON; docs/reference/fleet.schema.json describes the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.base.times import timestamp
from agent.cli.present import Format, fitting
from agent.cli.present.text import printable
from agent.cluster.fleet.members import shortened
from agent.cluster.fleet.published import BY_NODE
from agent.cluster.node_status import PREFIX, Annotation, PublishedResult
from agent.k3s.redaction import redacted_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.fleet.members import Fleet
    from agent.cluster.fleet.published import FleetNode

SCHEMA = 1
HEADS = ("Node", "Role", "Result", "K3s", "Failed", "Drifting since", "Age", "k3s-harden", "Remarks")
_STYLE = "header { padding: 1.5rem 0; } .part { overflow: auto; } tr > :not(:last-child) { white-space: nowrap; }"
_NOT_IN_JSON = ("uid", "leaked", "compared", "published")


def present_fleet(fleet: Fleet, output_format: Format, stream: TextIO) -> None:
    """Write the nodes to `stream`. Texts of nodes are escaped, and secrets in them are replaced."""
    if output_format is Format.JSON:
        text = _as_json(fleet)
    elif output_format is Format.HTML:
        text = _as_html(fleet)
    elif output_format is Format.OPENREPORTS:
        from agent.cli.present.assessments.openreports import fleet_reports

        text = fleet_reports(fleet)
    else:
        is_table = output_format is Format.TABLE or (output_format is Format.AUTO and stream.isatty())
        rows = _table(fleet) if is_table else ("\t".join(text or "-" for text in columns(node)) for node in fleet.nodes)
        text = "".join(f"{line}\n" for line in (*rows, *below(fleet), summary(fleet)))
    stream.write(fitting(text, stream))


def _table(fleet: Fleet) -> Iterator[str]:
    """Yield aligned lines, the heads first. A terminal breaks long remarks, which are at the end."""
    rows = [HEADS, *map(columns, fleet.nodes)]
    widths = [max(map(len, texts)) for texts in zip(*rows)]
    yield from ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def columns(node: FleetNode) -> tuple[str, ...]:
    """Return the columns of HEADS, without control characters; empty if there is no value."""
    names = (Annotation.FAILED, Annotation.DRIFTING_SINCE, Annotation.VERSION)
    failed, drifting, program = (node.published[name] for name in names)
    age = "" if node.age_seconds is None else f"{max(0, node.age_seconds) // 3600}h{'*' * (node.age_from == BY_NODE)}"
    remarks = "; ".join((*filter(None, (node.reason,)), *node.differs))
    texts = (node.name, node.role, node.result, node.k3s_version, failed, drifting, age, program, remarks)
    return tuple("" if text is None else printable(str(text)) for text in texts)


def below(fleet: Fleet) -> Iterator[str]:
    """Yield the nodes by failed control, and what the mark of an age means."""
    for control, names in fleet.nodes_by_failed_control.items():
        yield printable(f"{control} failed on {len(names)}: {shortened(names)}")
    if any(node.age_from == BY_NODE for node in fleet.nodes):
        yield "* by the clock of the node: without --show-managed-fields, kubectl omits the time of the API server"


def summary(fleet: Fleet) -> str:
    """Return the number of nodes with each result, and why the requirement is not met."""
    counts = ", ".join(f"{count} {result}" for result, count in fleet.counts.items())
    return printable(f"result {int(fleet.exit_code)}: {'; '.join((counts, *fleet.problems))}")


def _as_html(fleet: Fleet) -> str:
    """Return one page, in ASCII, that loads nothing. The elements escape texts of nodes."""
    from xml.etree.ElementTree import fromstring, tostring

    from agent.assess.assessment import ControlStatus
    from agent.cli.present.assessments.html import asset, head
    from agent.cli.present.assessments.html.elements import cell, element, group, icon, part, table, table_row
    from agent.cli.present.assessments.html.rows import time_element

    icons = dict(zip(PublishedResult, (ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN)))
    rows = (
        table_row(*(cell(icon(icons[node.result]) if text == node.result else None, text) for text in columns(node)))
        for node in fleet.nodes
    )
    body = element(
        "body",
        fromstring(asset("icons.xml")),  # noqa: S314 - our own file
        element("header", element("h1", "K3s fleet"), element("p", summary(fleet)), time_element(fleet.when)),
        part("nodes", "Nodes", table("fleet", HEADS, group(rows))),
        part("notes", "Failed controls and notes", element("ul", (element("li", line) for line in below(fleet)))),
    )
    page = element("html", head("K3s fleet", asset("report.css") + _STYLE), body, lang="en")
    return f"<!DOCTYPE html>\n{tostring(page, method='html').decode('ascii')}\n"


def _as_json(fleet: Fleet) -> str:
    """Return one JSON object and a line break. Every key is present; what a node does not publish is null."""
    import json

    from agent import __version__

    shape = {
        "schema": SCHEMA,
        "version": __version__,
        "verb": "fleet",
        "exit_code": int(fleet.exit_code),
        "time": timestamp(fleet.when),
        "problems": fleet.problems,
        "counts": fleet.counts,
        "nodes": list(map(_node, fleet.nodes)),
        "nodes_by_failed_control": fleet.nodes_by_failed_control,
    }
    # ASCII, so that no text of a node controls a terminal.
    return json.dumps(redacted_all(shape), indent=2) + "\n"


def _node(node: FleetNode) -> dict[str, object]:
    published = {name.removeprefix(PREFIX).replace("-", "_"): value for name, value in node.published.items()}
    return {**{name: value for name, value in node._asdict().items() if name not in _NOT_IN_JSON}, **published}
