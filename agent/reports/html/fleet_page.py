"""The nodes of clusters as one HTML page without external resources, which can be filtered, sorted and printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from xml.etree.ElementTree import Element

from agent.assess.assessment import ControlStatus
from agent.cluster.fleet.members import Fleet, shortened
from agent.cluster.fleet.published import FleetNode
from agent.cluster.node_status import PublishedResult
from agent.reports.fleet_texts import HEADS, columns, notes, remarks, summary
from agent.reports.html.assessment_overview import asset, bar, page
from agent.reports.html.elements import (
    Content,
    cell,
    element,
    group,
    head_cell,
    icon,
    part,
    raw,
    table,
    table_row,
    time_element,
    whole,
)
from agent.reports.text import count_of, printable

_STATUSES = {
    PublishedResult.FAILED: ControlStatus.FAIL,
    PublishedResult.UNKNOWN: ControlStatus.UNKNOWN,
    PublishedResult.COMPLIANT: ControlStatus.PASS,
}
"""The icon and color of each result, problems first."""
_FEW = 10
_MOST_BARS = 500
_MOST_CALM = 200


def fleet_html(fleet: Fleet, shown: Sequence[FleetNode]) -> str:
    """Return the page, in ASCII, with rows for the `shown` nodes. The elements escape texts of nodes."""
    tiles = [
        element("li", element("b", str(fleet.counts[result])), element("span", icon(status), result), class_=status)
        for result, status in _STATUSES.items()
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
    lines = [element("p", whole(line)) for line in notes(fleet)]
    parts = (part("notes", "Notes", lines) if lines else None, _clusters(fleet), _controls(fleet), _nodes(shown))
    style = asset("report.css") + asset("fleet.css")
    return page("K3s fleet", style, asset("fleet.js"), (header, element("main", parts)))


def _clusters(fleet: Fleet) -> Element | None:
    if len(fleet.clusters) < 2:  # noqa: PLR2004 - the tiles have the counts of one
        return None
    largest = max(sum(counts.values()) for counts in fleet.clusters.values())
    rows = []
    for name, counts in islice(fleet.clusters.items(), _MOST_BARS):
        by_status = {status: counts[result] for result, status in _STATUSES.items()}
        numbers = (cell(str(counts[result] or "–"), data_head=result, class_="n") for result in _STATUSES)
        rows.append(table_row(head_cell(whole(printable(name or "-"))), cell(bar(by_status, largest)), numbers))
    left = len(fleet.clusters) - _MOST_BARS
    more = element("p", element("small", f"and {left} more with fewer problems")) if left > 0 else None
    heads = ("Cluster", "Nodes", *_STATUSES)
    return part("clusters", "Clusters", element("div", table("clusters", heads, group(rows)), class_="scroll"), more)


def _controls(fleet: Fleet) -> Element | None:
    rows = []
    for control, names in fleet.nodes_by_failed_control.items():
        count = cell(str(len(names)), data_head="nodes", class_="n")
        failed: Content = whole(printable(", ".join(names[:_FEW])))
        if len(names) > _FEW:
            summary_ = element("summary", f"{len(names) - _FEW} more")
            failed = (failed, element("details", summary_, shortened(names[_FEW:], 500)))
        rows.append(table_row(head_cell(element("code", control)), count, cell(failed)))
    heads = ("Control", "Nodes", "Failed on")
    return part("failed", "Failed controls", table("failed", heads, group(rows))) if rows else None


def _nodes(shown: Sequence[FleetNode]) -> Element:
    """Return the table; the script adds filters, and buttons that sort it.

    Many rows without a remark are only their texts, from which the script makes rows on request.
    """
    calm = [node for node in shown if node.result is PublishedResult.COMPLIANT and not columns(node)[-1]]
    calm = calm if len(calm) > _MOST_CALM else []
    hidden = set(map(id, calm))
    rows = [_row(node, columns(node)) for node in shown if id(node) not in hidden]
    on_request = None
    if calm:
        texts = json.dumps([columns(node) for node in calm], separators=(",", ":")).replace("<", "\\u003c")
        on_request = element(
            "p",
            element("span", count_of(len(calm), "compliant node"), " without a remark", class_="calm"),
            raw("script", texts, type="application/json", class_="calm-nodes"),
            element("template", element("table", _row(calm[0], [""] * len(HEADS))), class_="calm-row"),
        )
    filters = element("div", class_="filters", hidden="hidden")
    return part("nodes", "Nodes", filters, table("nodes", HEADS, group(rows)), on_request)


def _row(node: FleetNode, texts: Sequence[str]) -> Element:
    return table_row(*(_cell(node, *pair) for pair in zip(HEADS, texts)), data_result=node.result)


def _cell(node: FleetNode, name: str, text: str) -> Element:
    content: Content = whole(text)
    if name == "Result":
        content = (icon(_STATUSES[node.result]), text)
    elif name == "Remarks" and node.differs:
        differences = element("ul", (element("li", whole(printable(line))) for line in node.differs))
        number = element("summary", count_of(len(node.differs), "difference"))
        content = (whole(printable("; ".join(remarks(node)))), element("details", number, differences))
    return cell(content, data_head=name, class_=f"is-{name.lower().replace(' ', '-')}")
