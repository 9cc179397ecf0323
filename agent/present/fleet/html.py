"""The nodes of a cluster as one HTML file without external resources."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring, tostring

from agent.assess.assessment import ControlStatus
from agent.cluster.node_status import PublishedResult
from agent.present.assessments.html import asset, head
from agent.present.assessments.html.elements import cell, element, group, icon, part, table, table_row
from agent.present.assessments.html.rows import time_element
from agent.present.fleet import HEADS, below, columns, summary

if TYPE_CHECKING:
    from agent.fleet.fleet import Fleet

_ICONS = dict(zip(PublishedResult, (ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN)))
_STYLE = ".part { overflow: auto; } .fleet tr > :not(:last-child) { white-space: nowrap; }"


def fleet_html(fleet: Fleet) -> str:
    """Return the page, in ASCII. The elements escape texts of nodes."""
    rows = (
        table_row(*(cell(icon(_ICONS[node.result]) if text == node.result else None, text) for text in columns(node)))
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
