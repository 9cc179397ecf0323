"""JUnit XML, as the schemas of Jenkins and Ant have it, and as a reader of it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from agent.present.assessments import AssessmentFormat, as_text
from tests.unit.present.assessments.samples import CALM, COMPARED, FULL, NOTHING, hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.assess.assessment import Assessment

# What Jenkins' schema (jenkins-junit.xsd) allows: the attributes of each element, with those it must have in
# capitals here, and the elements in it.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {
            "name",
            "tests",
            "failures",
            "errors",
            "time",
            "disabled",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
        },
        {"name", "tests"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": (
        {"name", "assertions", "time", "classname", "status"},
        {"name"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "skipped": ({"message"}, set(), set()),
    "failure": ({"type", "message"}, set(), set()),
    "error": ({"type", "message"}, set(), set()),
    "system-out": (set(), set(), set()),
}


def junit(assessment: Assessment) -> str:
    """The XML of an assessment."""
    return as_text(assessment, AssessmentFormat.JUNIT)


def hold_to_the_schema(text: str) -> None:
    """No element, attribute or child that Jenkins would not know, and none missing."""
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == "testsuites"
    for element in root.iter():
        may, must, children = ALLOWED[element.tag]
        assert must <= set(element.attrib) <= may, element.tag
        assert {child.tag for child in element} <= children


def suites(assessment: Assessment) -> list[TestSuite]:
    """The suites, by a parser of JUnit XML."""
    return list(JUnitXml.fromstring(junit(assessment).encode()))


def cases(assessment: Assessment) -> Iterator[tuple[str, TestCase]]:
    """Each case with the id of its control."""
    for suite in suites(assessment):
        for case in suite:
            assert isinstance(case, TestCase)
            yield str(case.name).partition(":")[0].split()[-1], case


def results(assessment: Assessment) -> dict[str, list[type]]:
    """The kinds of result that each case has."""
    return {name: [type(one) for one in case.result] for name, case in cases(assessment)}


@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED])
def test_it_is_as_jenkins_has_it(assessment: Assessment) -> None:
    """And each count is that of the cases in it."""
    hold_to_the_schema(junit(assessment))
    root = ET.fromstring(junit(assessment))  # noqa: S314 - our own
    for element in (root, *root):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            if name in element.attrib:
                assert int(element.attrib[name]) == len(list(element.iter(tag))), (element.tag, name)
    assert len(list(root.iter("testcase"))) == len(assessment.verdicts)


def test_a_verdict_becomes_a_result() -> None:
    """What failed is a failure, what could not be told an error, and a pass has none."""
    assert results(FULL) == {
        "apiserver-pod-spec-mode": [Skipped],
        "pki-certificate-mode": [Failure],
        "apiserver-anonymous-auth": [],
        "encryption-providers": [Error],
        "etcd-client-certificate": [Failure],
        "kubelet-read-only-port": [Skipped],
        "kubelet-tls": [Error],
        "rbac-cluster-admin": [Skipped],
        "server-directory": [],
        "sysctl-precedence": [],
        "vm.panic_on_oom": [Failure],
    }


def test_a_gate_by_junit_is_a_gate_by_the_exit_code() -> None:
    """What the baseline had is skipped, and says why."""
    for assessment in (FULL, CALM, COMPARED, COMPARED._replace(known=frozenset(results(FULL)))):
        red = [name for name, kinds in results(assessment).items() if set(kinds) & {Failure, Error}]
        assert bool(red) == bool(assessment.exit_code)
        assert set(red) == {one.control.id for one in assessment.open}
    known = dict(cases(COMPARED))["pki-certificate-mode"].result[0]
    assert known.message == "known from the baseline: FAIL: expected mode 0600 or stricter; found mode 0644"


def test_a_result_says_what_to_do_and_why() -> None:
    """Failures have the remedy; what is skipped its reason, or its waiver with its end."""
    by_id = dict(cases(FULL))
    failure = by_id["etcd-client-certificate"].result[0]
    assert failure.message == "expected true; found false"
    assert failure.text.startswith("owner: operator\nPut this into /etc/rancher/k3s/config.yaml:\n    etcd-arg+:\n")
    assert by_id["kubelet-tls"].result[0].message == "K3s has not run yet"
    assert by_id["kubelet-tls"].result[0].text == "owner: operator\nK3s has not run yet"
    assert (
        by_id["kubelet-read-only-port"]
        .result[0]
        .message.startswith("WAIVED: the vendor's agent reads it (until 2027-06-30")
    )
    assert by_id["rbac-cluster-admin"].result[0].message == "MANUAL: Look at the bindings of cluster-admin."
    assert by_id["apiserver-anonymous-auth"].system_out == "anonymous-auth=false (what K3s v1.28 itself sets)"
    assert (
        by_id["pki-certificate-mode"].name
        == "1.1.20 pki-certificate-mode: Ensure that the title of pki-certificate-mode"
    )


def test_a_suite_says_of_which_node_and_when() -> None:
    """In UTC, and without a time zone, which the schemas do not know."""
    suite = suites(FULL)[0]
    assert (suite.name, suite.hostname, suite.timestamp) == (
        "1.1 Control plane node configuration files",
        "node-1",
        "2025-11-25T04:04:05",
    )
    root = ET.fromstring(junit(FULL))  # noqa: S314 - our own
    for element in root:
        assert {one.attrib["name"]: one.attrib["value"] for one in element.iter("property")} == {
            "benchmark": "cis-1.9",
            "role": "server",
            "K3s version": "v1.28.5+k3s1",
        }
    assert {case.classname for case in suite} == {"1-1 Control plane node configuration files"}


def test_what_the_assessment_says_of_itself_is_in_the_first_suite() -> None:
    """A waiver that has ended, say: the schemas have no place for words on all suites."""
    root = ET.fromstring(junit(FULL))  # noqa: S314 - our own
    texts = [suite.findtext("system-out") for suite in root]
    assert [bool(text) for text in texts] == [True] + [False] * (len(texts) - 1)
    for notice in FULL.notes:
        assert notice.message in str(texts[0])


@given(assessment=hostile())
def test_any_text_leaves_it_xml(assessment: Assessment) -> None:
    """Some characters XML cannot hold even as references; a parser would refuse the whole file."""
    hold_to_the_schema(junit(assessment))
    assert list(results(assessment)) == list(results(FULL))
