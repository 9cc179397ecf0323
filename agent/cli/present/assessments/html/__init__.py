"""An assessment as one HTML file without external resources, which can be filtered and printed."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring, tostring

from agent import __version__
from agent.base import package_data
from agent.cli.present.assessments.html import overview
from agent.cli.present.assessments.html.controls import controls, legend
from agent.cli.present.assessments.html.elements import element, raw
from agent.cli.present.assessments.html.rows import node_name, rows_by_section, rows_of, time_element

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from agent.assess.assessment import Assessment


def as_html(assessment: Assessment) -> str:
    """Return the page, in ASCII; it depends only on the assessment."""
    style, script = asset("report.css"), asset("report.js")
    title = f"{node_name(assessment)}: CIS Kubernetes Benchmark {assessment.benchmark.number}"
    page = element("html", head(title, style, script), _body(assessment, script), lang="en")
    return f"<!DOCTYPE html>\n{tostring(page, method='html').decode('ascii')}\n"


def head(title: str, style: str, script: str = "") -> Element:
    """Return the head of a page that loads nothing."""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    # The policy applies only to what follows it.
    return element(
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


def _body(assessment: Assessment, script: str) -> Element:
    rows = rows_of(assessment)
    sections = rows_by_section(rows)
    return element(
        "body",
        fromstring(asset("icons.xml")),  # noqa: S314 - our own file
        element("a", "Skip to the controls", class_="skip", href="#controls"),
        overview.header(assessment),
        element(
            "main",
            overview.blockers_part(assessment),
            overview.remediation_part(rows),
            overview.waivers_part(rows),
            overview.notes_part(assessment),
            overview.summary_part(assessment, sections),
            overview.facts_part(assessment),
            controls(rows, sections),
            legend(),
        ),
        _footer(assessment),
        raw("script", script),
    )


def _footer(assessment: Assessment) -> Element:
    return element(
        "footer",
        element("p", (element("span", field) for field in ("Reviewed by", "Date", "Signature")), class_="sign"),
        element(
            "p",
            f"Created by k3s-harden {__version__} on {node_name(assessment)}, ",
            time_element(assessment.when),
            f", for CIS Kubernetes Benchmark {assessment.benchmark.number}. Nothing was changed.",
        ),
    )


def asset(name: str) -> str:
    """Return a file of the page."""
    return package_data.read("cli", "present", "assessments", "html", "assets", name).decode()


def _hash(text: str) -> str:
    """Return the hash by which a Content-Security-Policy allows exactly this text."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
