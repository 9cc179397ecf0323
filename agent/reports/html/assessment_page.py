"""An assessment as one HTML file without external resources, which can be filtered and printed."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring, tostring

from agent import __version__
from agent.base import package_data
from agent.reports.html import assessment_overview
from agent.reports.html.assessed_controls import controls, legend, node_name, rows_by_section, rows_of
from agent.reports.html.elements import element, raw, time_element

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from agent.assess.assessment import Assessment


def as_html(assessment: Assessment) -> str:
    """Return the page, in ASCII; it depends only on the assessment."""
    rows, benchmark = rows_of(assessment), f"CIS Kubernetes Benchmark {assessment.benchmark.number}"
    sections = rows_by_section(rows)
    blockers = (note for note in assessment.notes if note.prevents_start)
    main = element(
        "main",
        assessment_overview.notes_part("blockers", "What prevents K3s from starting", blockers),
        assessment_overview.repair_part(rows),
        assessment_overview.effects_part(assessment),
        assessment_overview.waivers_part(rows),
        assessment_overview.notes_part(
            "notes", "Notes", (note for note in assessment.notes if not note.prevents_start)
        ),
        assessment_overview.summary_part(assessment, sections),
        assessment_overview.facts_part(assessment),
        controls(rows, sections),
        legend(),
    )
    created = f"Created by k3s-harden {__version__} on {node_name(assessment)}, "
    footer = element(
        "footer",
        element("p", (element("span", field) for field in ("Reviewed by", "Date", "Signature")), class_="sign"),
        element("p", created, time_element(assessment.when), f", for {benchmark}. Nothing was changed."),
    )
    skip = element("a", "Skip to the controls", class_="skip", href="#controls")
    content = (skip, assessment_overview.header(assessment), main, footer)
    return page(f"{node_name(assessment)}: {benchmark}", asset("report.css"), asset("report.js"), content)


def page(title: str, style: str, script: str, content: Iterable[Element]) -> str:
    """Return a page, in ASCII, that loads nothing."""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    # The policy applies only to what follows it.
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=f"k3s-harden {__version__}"),
        element("title", title),
        raw("style", style),
    )
    icons = fromstring(asset("icons.xml"))  # noqa: S314 - our own file
    body = element("body", icons, content, raw("script", script))
    html = tostring(element("html", head, body, lang="en"), method="html")
    return f"<!DOCTYPE html>\n{html.decode('ascii')}\n"


def asset(name: str) -> str:
    """Return a file of the page."""
    return package_data.read("reports", "html", "assets", name).decode()


def _hash(text: str) -> str:
    """Return the hash by which a Content-Security-Policy allows exactly this text."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
