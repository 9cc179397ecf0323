"""AWS Security Finding Format: the API model of AWS, and rules that the model does not express."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from agent.assess.assessment import Assessment, Evidence, Verdict
from agent.assess.benchmark.control import Rating, Severity
from agent.base.errors import UsageError
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from agent.reports import remediation
from agent.reports.assessments import assessment_text
from agent.reports.assessments.asff import AwsAccount, account
from agent.reports.formats import Format
from tests.unit.reports.assessments import real_nodes
from tests.unit.reports.assessments.html_sample import of_catalogue
from tests.unit.reports.assessments.samples import (
    CALM,
    CANNOT_TELL,
    COMPARED,
    DOES_NOT_APPLY,
    FAILS,
    FOR_A_PERSON,
    FULL,
    KERNEL_FAILS,
    NOTHING,
    PASSES,
    WAIVED,
    WARNS,
    WHEN_IN_WORDS,
    at,
    hostile,
    steps,
)

AWS = account("123456789012", "eu-central-1", None)
SCHEMA = Path(__file__).parents[3] / "data/asff.schema.json"
VALIDATOR = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
MOST_BYTES = 240_000


def read(assessment: Assessment, aws: AwsAccount = AWS) -> list[dict[str, Any]]:
    found = json.loads(assessment_text(assessment, Format.ASFF, aws=aws))
    assert isinstance(found, list)
    return found


def finding(verdict: Verdict) -> dict[str, Any]:
    (only,) = read(replace(FULL, verdicts=(verdict,)))
    return only


def validate(findings: list[dict[str, Any]]) -> None:
    """Check the rules of AWS, including the size of a finding. The limits of AWS in characters are checked in bytes."""
    for record in findings:
        VALIDATOR.validate(record)
        assert len(json.dumps(record)) <= MOST_BYTES
        assert len(record["Title"].encode()) <= 256
        assert len(record["Description"].encode()) <= 1024
        assert record["CreatedAt"] == record["UpdatedAt"] == WHEN_IN_WORDS or record["CreatedAt"].endswith("Z")
        assert record["SchemaVersion"] == "2018-10-08"
    assert len({record["Id"] for record in findings}) == len(findings)


@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED, *map(of_catalogue, Benchmark)])
def test_asff_is_valid_by_the_model_of_aws(assessment: Assessment) -> None:
    findings = read(assessment)
    validate(findings)
    assert len(findings) == len(assessment.verdicts)


@pytest.mark.parametrize("name", real_nodes.NAMES)
def test_asff_of_a_complete_node_is_valid_by_the_model_of_aws(name: str) -> None:
    findings = read(real_nodes.assessed(name))
    validate(findings)
    assert len(findings) == len(real_nodes.assessed(name).verdicts)


@given(assessment=hostile())
def test_asff_with_hostile_text_is_valid(assessment: Assessment) -> None:
    validate(read(assessment))


def test_long_texts_are_cut() -> None:
    """They are cut at the limits of AWS, between characters."""
    text = "é日" * 5000
    long = FAILS._replace(
        expected=text, found=text, evidence=(Evidence(text, at(f"/{text}")),), remediation=steps(text)
    )
    (only,) = findings = read(replace(FULL, node=text, verdicts=(long,)))
    validate(findings)
    assert only["Description"].startswith("Expected: é日")
    assert only["Description"].endswith("...")
    assert len(only["Id"].encode()) <= 512
    (other,) = read(replace(FULL, node=f"{text}x", verdicts=(long,)))
    assert other["Id"] != only["Id"]


@pytest.mark.parametrize(
    ("verdict", "compliance", "severity", "state"),
    [
        (PASSES, "PASSED", "INFORMATIONAL", "ACTIVE"),
        (FAILS, "FAILED", "MEDIUM", "ACTIVE"),
        (WARNS, "FAILED", "MEDIUM", "ACTIVE"),
        (KERNEL_FAILS, "FAILED", "MEDIUM", "ACTIVE"),
        (CANNOT_TELL, "WARNING", "MEDIUM", "ACTIVE"),
        (FOR_A_PERSON, "WARNING", "INFORMATIONAL", "ACTIVE"),
        (WAIVED, "WARNING", "INFORMATIONAL", "ARCHIVED"),
        (DOES_NOT_APPLY, "NOT_AVAILABLE", "INFORMATIONAL", "ARCHIVED"),
    ],
    ids=lambda value: value.control.id if isinstance(value, Verdict) else str(value),
)
def test_each_status_has_its_compliance(verdict: Verdict, compliance: str, severity: str, state: str) -> None:
    """Waived and not applicable controls are archived, so that Security Hub hides them."""
    record = finding(verdict)
    found = (record["Compliance"]["Status"], record["Severity"]["Label"], record["RecordState"])
    assert found == (compliance, severity, state)
    assert record["FindingProviderFields"]["Severity"] == record["Severity"]
    assert record["Severity"]["Original"] == str(verdict.status)


def test_a_finding_has_all_details() -> None:
    record = finding(FAILS)
    assert record["Id"] == "eu-central-1/123456789012/node-1/k3s-harden/cis-1.9/pki-certificate-mode"
    assert record["GeneratorId"] == "k3s-harden/cis-1.9/pki-certificate-mode"
    assert record["Title"] == f"1.1.20 {FAILS.control.recommendation}"
    assert record["Description"] == (
        "Expected: mode 0600 or stricter. Found: mode 0644. Why pki-certificate-mode matters."
    )
    assert record["Remediation"]["Recommendation"]["Text"] == remediation.text(FAILS.remediation)
    assert record["Compliance"]["RelatedRequirements"] == ["CIS Kubernetes 1.9 1.1.20"]
    assert record["ProductFields"]["k3s-harden/evidence"].startswith(
        "/var/lib/rancher/k3s/server/tls/a.crt: mode 0644; "
    )
    (resource,) = record["Resources"]
    assert (resource["Type"], resource["Id"], resource["Partition"]) == ("Other", "node-1", "aws")
    assert resource["Details"]["Other"] == {"node": "node-1", "role": "server", "k3sVersion": "v1.28.5+k3s1"}
    fields = finding(FAILS._replace(control=replace(FAILS.control, level=2)))["ProductFields"]
    assert [fields[f"k3s-harden/{name}"] for name in ("level", "owner", "status")] == ["2", "apply", "FAIL"]
    assert finding(WAIVED)["ProductFields"]["k3s-harden/waiver"].startswith("the vendor's agent reads it (expires")


def test_the_id_of_a_finding_stays_the_same() -> None:
    """Security Hub updates the finding with the same ID."""
    later = replace(FULL, when=FULL.when + 86400, verdicts=tuple(reversed(FULL.verdicts)))
    first, second, elsewhere = (
        {record["Id"] for record in read(shown)} for shown in (FULL, later, replace(FULL, node="node-2"))
    )
    assert first == second
    assert not first & elsewhere


def test_the_default_product_is_that_of_the_account() -> None:
    """Its ARN is in the partition of the region."""
    assert AWS.product == "arn:aws:securityhub:eu-central-1:123456789012:product/123456789012/default"
    for region, partition in (("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")):
        aws = account("123456789012", region, None)
        assert aws.partition == partition
        assert aws.product.startswith(f"arn:{partition}:securityhub:{region}:123456789012:")
    partner = "arn:aws:securityhub:eu-central-1::product/acme/k3s-harden"
    assert account("123456789012", "eu-central-1", partner).product == partner


@pytest.mark.parametrize(
    ("id_", "region", "product", "message"),
    [
        ("12345678901", "eu-central-1", None, "aws-account: found 12345678901, expected 12 digits"),
        ("١٢٣٤٥٦٧٨٩٠١٢", "eu-central-1", None, "aws-account: "),
        ("123456789012", "Frankfurt", None, "aws-region: found Frankfurt"),
        ("123456789012", "", None, "aws-region: found , expected"),
        ("123456789012", "us-east-1", "arn:aws:iam::1:role/x", "aws-product-arn: found arn:aws:iam"),
        ("123456789012", "us-east-1", "arn:aws:securityhub:us-west-1::product/a/x", "aws-product-arn: its region is"),
    ],
)
def test_malformed_options_are_usage_errors(id_: str, region: str, product: str | None, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        account(id_, region, product)
    assert raised.value.message.startswith(f"cannot use --{message}")


@pytest.mark.parametrize(("severity", "label"), [(severity, severity.name) for severity in Severity])
def test_an_open_control_has_its_severity_though_the_benchmark_does_not_score_it(
    severity: Severity, label: str
) -> None:
    """A control that passes is informational; the product fields keep its severity."""
    rating = Rating(severity, "It is so.")
    record = finding(WARNS._replace(control=replace(WARNS.control, rating=rating)))
    assert (record["Severity"]["Label"], record["Compliance"]["Status"]) == (label, "FAILED")
    passes = finding(PASSES._replace(control=replace(PASSES.control, rating=rating)))
    assert passes["Severity"]["Label"] == "INFORMATIONAL"
    assert passes["ProductFields"]["k3s-harden/severity"] == str(severity)
    assert passes["ProductFields"]["k3s-harden/severity-reason"] == "It is so."
