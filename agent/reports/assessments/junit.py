"""An assessment as JUnit XML for pipelines; its failures and errors are the controls that decide the exit code."""

from __future__ import annotations

import time
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.reports.assessments import common


def as_junit(assessment: Assessment) -> str:
    """Return, in ASCII, a test suite for each section and a test case for each control.

    A control that was open in the baseline is skipped.
    """
    root = Element(
        "testsuites", {"name": common.assessment_title(assessment), **_counted(assessment, assessment.verdicts)}
    )
    for number, verdicts in assessment.sections.items():
        suite = SubElement(
            root,
            "testsuite",
            {
                "name": common.section_title(number),
                # Without a time zone: the schemas of Jenkins and Ant do not allow one.
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(assessment.when)),
                "hostname": assessment.node,
                "skipped": str(sum(_is_skipped(assessment, verdict) for verdict in verdicts)),
                **_counted(assessment, verdicts),
            },
        )
        properties = SubElement(suite, "properties")
        SubElement(properties, "property", name="benchmark", value=str(assessment.benchmark))
        for fact in assessment.all_facts:
            SubElement(properties, "property", name=fact.name, value=fact.value)
        for verdict in verdicts:
            _case(suite, assessment, verdict)
    first = root.find("testsuite")
    if first is not None and assessment.notes:
        # The schemas allow no text outside a suite.
        SubElement(first, "system-out").text = "\n".join(map(common.noted, assessment.notes))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root).decode("ascii")}\n'


def _counted(assessment: Assessment, verdicts: Sequence[Verdict]) -> dict[str, str]:
    counted = [verdict.status for verdict in verdicts if not _is_skipped(assessment, verdict)]
    return {
        "tests": str(len(verdicts)),
        "failures": str(counted.count(ControlStatus.FAIL)),
        "errors": str(counted.count(ControlStatus.UNKNOWN)),
        "time": "0",
    }


def _is_skipped(assessment: Assessment, verdict: Verdict) -> bool:
    return not (assessment.is_new(verdict) or verdict.status is ControlStatus.PASS)


def _case(suite: Element, assessment: Assessment, verdict: Verdict) -> None:
    # Readers take the part before a dot as a package.
    case = SubElement(
        suite,
        "testcase",
        name=f"{verdict.shown_number} {verdict.control.id}: {verdict.control.recommendation}".lstrip(),
        classname=common.section_title(verdict.section).replace(".", "-"),
        time="0",
    )
    values = f"expected {verdict.expected}; found {verdict.found}" if verdict.found else verdict.reason
    owner, fix = common.owner_name(verdict.owner), common.verdict_fix(verdict) or verdict.reason
    if _is_skipped(assessment, verdict):
        why = f"{verdict.status}: {verdict.accepted if verdict.waiver else verdict.reason}"
        if mark := common.baseline_mark(assessment, verdict):
            why = f"{mark}: {verdict.status}: {values}"
        SubElement(case, "skipped", message=why)
    elif verdict.is_open:
        tag, message = "failure", values
        if verdict.status is ControlStatus.UNKNOWN:
            tag, message = "error", verdict.reason or "could not be determined"
        problem = SubElement(case, tag, type=str(verdict.status), message=message)
        problem.text = f"Owner: {owner}\nRemediation: {fix}"
    if verdict.evidence:
        SubElement(case, "system-out").text = "\n".join(shown.line for shown in verdict.evidence)
