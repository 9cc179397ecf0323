"""JUnit XML: the schema of Jenkins, and the content that a parser reads."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from junitparser import Error, Failure, JUnitXml, TestCase

from agent.assess.assessment import Assessment
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.unit.reports.assessments.samples import CALM, COMPARED, FULL

# The schema of Jenkins (jenkins-junit.xsd): allowed attributes, required attributes and children of each element.
ALLOWED = {
    "testsuites": ("name time tests failures disabled errors", "", "testsuite"),
    "testsuite": (
        "name tests failures errors time disabled skipped timestamp hostname id package",
        "name tests",
        "properties testcase system-out system-err",
    ),
    "properties": ("", "", "property"),
    "property": ("name value", "name value", ""),
    "testcase": ("name assertions time classname status", "name", "skipped error failure system-out system-err"),
    "skipped": ("message", "", ""),
    "failure": ("type message", "", ""),
    "error": ("type message", "", ""),
    "system-out": ("", "", ""),
}


def junit(assessment: Assessment) -> str:
    return assessment_text(assessment, Format.JUNIT)


def parsed(assessment: Assessment) -> ET.Element:
    return ET.fromstring(junit(assessment))  # noqa: S314 - our own


def validate(assessment: Assessment) -> None:
    """Assert that the schema of Jenkins allows each element, attribute and child, and that the counts are right.

    XML does not allow some characters, not even as references. Notes are in the first suite, and times have no time
    zone, because the schemas allow neither a text outside of a suite nor a time zone.
    """
    root = parsed(assessment)
    assert root.tag == "testsuites"
    for element in root.iter():
        may, must, children = (set(words.split()) for words in ALLOWED[element.tag])
        assert must <= set(element.attrib) <= may, element.tag
        assert {child.tag for child in element} <= children
    for element in (root, *root):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            if name in element.attrib:
                assert int(element.attrib[name]) == len(list(element.iter(tag))), (element.tag, name)
    assert sorted(results(assessment)) == sorted(verdict.control.id for verdict in assessment.verdicts)


def cases(assessment: Assessment) -> Iterator[tuple[str, TestCase]]:
    for suite in JUnitXml.fromstring(junit(assessment).encode()):
        for case in suite:
            assert isinstance(case, TestCase)
            yield str(case.name).partition(":")[0].split()[-1], case


def results(assessment: Assessment) -> dict[str, list[type]]:
    return {name: [type(result) for result in case.result] for name, case in cases(assessment)}


def test_failures_and_errors_agree_with_the_exit_code() -> None:
    for assessment in (FULL, CALM, COMPARED, replace(COMPARED, known=frozenset(results(FULL)))):
        red = [name for name, kinds in results(assessment).items() if set(kinds) & {Failure, Error}]
        assert bool(red) == bool(assessment.exit_code)
        assert set(red) == {verdict.control.id for verdict in assessment.open}
    known = dict(cases(COMPARED))["pki-certificate-mode"].result[0]
    assert known.message == "in the baseline: FAIL: expected mode 0600 or stricter; found mode 0644"
