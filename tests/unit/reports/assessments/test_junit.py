"""JUnit XML: the schema of Jenkins, and the content that a parser reads."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

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

    XML does not allow some characters, not even as references.
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


def suites(assessment: Assessment) -> list[TestSuite]:
    return list(JUnitXml.fromstring(junit(assessment).encode()))


def cases(assessment: Assessment) -> Iterator[tuple[str, TestCase]]:
    for suite in suites(assessment):
        for case in suite:
            assert isinstance(case, TestCase)
            yield str(case.name).partition(":")[0].split()[-1], case


def results(assessment: Assessment) -> dict[str, list[type]]:
    return {name: [type(result) for result in case.result] for name, case in cases(assessment)}


def test_each_status_has_its_result() -> None:
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


def test_failures_and_errors_agree_with_the_exit_code() -> None:
    for assessment in (FULL, CALM, COMPARED, replace(COMPARED, known=frozenset(results(FULL)))):
        red = [name for name, kinds in results(assessment).items() if set(kinds) & {Failure, Error}]
        assert bool(red) == bool(assessment.exit_code)
        assert set(red) == {verdict.control.id for verdict in assessment.open}
    known = dict(cases(COMPARED))["pki-certificate-mode"].result[0]
    assert known.message == "in the baseline: FAIL: expected mode 0600 or stricter; found mode 0644"


def test_a_result_has_repair_or_reason() -> None:
    by_id = dict(cases(FULL))
    failure = by_id["etcd-client-certificate"].result[0]
    assert failure.message == "expected true; found false"
    assert failure.text == (
        "Owner: operator\nRemediation: "
        "add `etcd-arg+: [client-cert-auth=true]` in /etc/rancher/k3s/config.yaml; restart K3s"
    )
    assert by_id["kubelet-tls"].result[0].message == "K3s has not run yet"
    assert by_id["kubelet-tls"].result[0].text == "Owner: none\nRemediation: K3s has not run yet"
    waived = by_id["kubelet-read-only-port"].result[0].message
    assert waived.startswith("WAIVED: the vendor's agent reads it (expires 2027-06-30")
    assert by_id["rbac-cluster-admin"].result[0].message == "MANUAL: Look at the bindings of cluster-admin."
    assert by_id["apiserver-anonymous-auth"].system_out == "default of K3s v1.28: anonymous-auth=false"
    name = "pki-certificate-mode"
    assert by_id[name].name == f"1.1.20 {name}: Ensure that the title of {name}"


def test_a_suite_has_node_and_time() -> None:
    """The time is in UTC without a time zone, which the schemas do not allow."""
    suite = suites(FULL)[0]
    assert (suite.name, suite.hostname, suite.timestamp) == (
        "1.1 Control plane node configuration files",
        "node-1",
        "2025-11-25T04:04:05",
    )
    for element in parsed(FULL):
        assert {property_.attrib["name"]: property_.attrib["value"] for property_ in element.iter("property")} == {
            "benchmark": "cis-1.9",
            "role": "server",
            "K3s version": "v1.28.5+k3s1",
            "data directory": "/var/lib/rancher/k3s",
        }
    assert {case.classname for case in suite} == {"1-1 Control plane node configuration files"}


def test_notes_are_in_the_first_suite() -> None:
    """The schemas allow no text outside a suite."""
    texts = [suite.findtext("system-out") for suite in parsed(FULL)]
    assert [bool(text) for text in texts] == [True] + [False] * (len(texts) - 1)
    for notice in FULL.notes:
        assert notice.message in str(texts[0])
