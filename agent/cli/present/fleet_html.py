"""The nodes of clusters as one HTML page without external resources, which can be filtered, sorted and printed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring, tostring

from agent.assess.assessment import ControlStatus
from agent.cli.present.assessments.html import asset, head
from agent.cli.present.assessments.html.elements import (
    cell,
    element,
    group,
    head_cell,
    icon,
    part,
    raw,
    table,
    table_row,
    whole,
)
from agent.cli.present.assessments.html.overview import bar
from agent.cli.present.assessments.html.rows import count_of, time_element
from agent.cli.present.fleet_report import HEADS, columns, notes, remarks, summary
from agent.cli.present.text import printable
from agent.cluster.fleet.members import shortened
from agent.cluster.node_status import PublishedResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

    from agent.cli.present.assessments.html.elements import Content
    from agent.cluster.fleet.members import Fleet
    from agent.cluster.fleet.published import FleetNode

_STATUSES = {
    PublishedResult.FAILED: ControlStatus.FAIL,
    PublishedResult.UNKNOWN: ControlStatus.UNKNOWN,
    PublishedResult.COMPLIANT: ControlStatus.PASS,
}
"""The icon and color of each result, problems first."""
_FEW = 10
_MOST_BARS = 500


def fleet_html(fleet: Fleet, shown: Sequence[FleetNode]) -> str:
    """Return the page, in ASCII, with rows for the `shown` nodes. The elements escape texts of nodes."""
    style, script = asset("report.css") + asset("fleet.css"), asset("fleet.js")
    tiles = [
        element("li", element("b", str(count)), element("span", icon(status), result), class_=status)
        for result, status in _STATUSES.items()
        for count in (fleet.counts[result],)
    ]
    if len(fleet.clusters) > 1:
        tiles.append(element("li", element("b", str(len(fleet.clusters))), element("span", "clusters")))
    header = element(
        "header",
        element("h1", "K3s fleet"),
        time_element(fleet.when),
        element("p", summary(fleet)),
        element("ul", tiles, class_="tiles", aria_label="Nodes by result"),
        class_="fleet-top",
    )
    parts = (_notes(fleet), _clusters(fleet), _controls(fleet), _nodes(shown))
    icons = fromstring(asset("icons.xml"))  # noqa: S314 - our own file
    body = element("body", icons, header, element("main", parts), raw("script", script))
    page = element("html", head("K3s fleet", style, script), body, lang="en")
    return f"<!DOCTYPE html>\n{tostring(page, method='html').decode('ascii')}\n"


def _clusters(fleet: Fleet) -> Element | None:
    if len(fleet.clusters) < 2:  # noqa: PLR2004 - the tiles have the counts of one
        return None
    largest = max(sum(counts.values()) for counts in fleet.clusters.values())
    rows = (
        table_row(head_cell(whole(printable(name or "-"))), cell(bar(_by_status(counts), largest)), *_numbers(counts))
        for name, counts in islice(fleet.clusters.items(), _MOST_BARS)
    )
    left = len(fleet.clusters) - _MOST_BARS
    more = element("p", element("small", f"and {left} more with fewer problems")) if left > 0 else None
    heads = ("Cluster", "Nodes", *_STATUSES)
    return part("clusters", "Clusters", element("div", table("clusters", heads, group(rows)), class_="scroll"), more)


def _by_status(counts: Mapping[PublishedResult, int]) -> Mapping[ControlStatus, int]:
    return {**dict.fromkeys(ControlStatus, 0), **{status: counts[result] for result, status in _STATUSES.items()}}


def _numbers(counts: Mapping[PublishedResult, int]) -> list[Element]:
    return [cell(str(counts[result] or "–"), data_head=result, class_="n") for result in _STATUSES]


def _controls(fleet: Fleet) -> Element | None:
    rows = [
        table_row(
            head_cell(element("code", control)),
            cell(str(len(names)), data_head="nodes", class_="n"),
            cell(_names(names)),
        )
        for control, names in fleet.nodes_by_failed_control.items()
    ]
    heads = ("Control", "Nodes", "Failed on")
    return part("failed", "Failed controls", table("failed", heads, group(rows))) if rows else None


def _names(names: Sequence[str]) -> Content:
    """Return the first names, and the others as details."""
    first = whole(printable(", ".join(names[:_FEW])))
    more = element("details", element("summary", f"{len(names) - _FEW} more"), shortened(names[_FEW:], 500))
    return (first, more) if len(names) > _FEW else first


def _nodes(shown: Sequence[FleetNode]) -> Element:
    """Return the table; the script adds filters, and buttons that sort it."""
    rows = (
        table_row(*(_cell(node, *pair) for pair in zip(HEADS, columns(node))), data_result=node.result)
        for node in shown
    )
    return part("nodes", "Nodes", element("div", class_="filters", hidden="hidden"), table("nodes", HEADS, group(rows)))


def _cell(node: FleetNode, name: str, text: str) -> Element:
    content: Content = whole(text)
    if name == "Result":
        content = (icon(_STATUSES[node.result]), text)
    elif name == "Remarks" and node.differs:
        differences = element("ul", (element("li", whole(printable(line))) for line in node.differs))
        number = count_of(len(node.differs), "difference")
        content = (
            whole(printable("; ".join(remarks(node)))),
            element("details", element("summary", number), differences),
        )
    return cell(content, data_head=name, class_=f"is-{name.lower().replace(' ', '-')}")


def _notes(fleet: Fleet) -> Element | None:
    lines = [element("p", whole(line)) for line in notes(fleet)]
    return part("notes", "Notes", lines) if lines else None
