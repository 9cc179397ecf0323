"""An assessment in the AWS Security Finding Format, for Security Hub.

Fields and limits: Security Hub API Reference, AwsSecurityFinding (botocore, securityhub/2018-10-26/service-2.json).
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.base.errors import UsageError
from agent.base.report import K3S_VERSION, ROLE
from agent.base.times import timestamp
from agent.reports.assessments import common
from agent.reports.assessments.common import fact, verdict_fix, verdict_number

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment, Verdict

_SCHEMA_VERSION = "2018-10-08"
_TYPE = "Software and Configuration Checks/Industry and Regulatory Standards/CIS Kubernetes Benchmark"

_COMPLIANCE = {
    ControlStatus.PASS: "PASSED",
    ControlStatus.FAIL: "FAILED",
    ControlStatus.WAIVED: "WARNING",
    ControlStatus.NOT_APPLICABLE: "NOT_AVAILABLE",
    ControlStatus.MANUAL: "WARNING",
    ControlStatus.UNKNOWN: "WARNING",
}
"""WARNING: information is missing. NOT_AVAILABLE: the check is not for this resource."""
_MOST_FACTS = 35
"""A finding has at most 50 product fields."""
_ARCHIVED = (ControlStatus.WAIVED, ControlStatus.NOT_APPLICABLE)
"""By default Security Hub shows only active findings."""

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"(?P<area>[a-z]{2,4}(-[a-z]+)+)-[0-9]{1,2}", re.ASCII)
_PRODUCT = re.compile(r"arn:aws(-[a-z]+)*:securityhub:(?P<region>[a-z0-9-]+):[0-9]*:product/[\w-]+/[\w-]+", re.ASCII)
_MOST_OF_REGION = 16
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


class AwsAccount(NamedTuple):
    """The account that findings are imported into."""

    id: str
    region: str
    product: str
    """The ARN of the product that sends the findings."""

    @property
    def partition(self) -> str:
        """The partition of the region in ARNs."""
        return next((name for area, name in _PARTITIONS.items() if self.region.startswith(area)), "aws")


_OMIT = "omit it, for the account's own product, or correct it"


def account(id_: str | None, region: str | None, product: str | None) -> AwsAccount:
    """Return the account of these options; the default product is the account's own. Raises UsageError."""
    for option, value, pattern, expected in (
        ("--aws-account", id_, _ACCOUNT, "12 digits"),
        ("--aws-region", region, _REGION, "a region such as eu-central-1"),
    ):
        if value is None:
            raise UsageError(f"cannot use --format asff without {option}", f"pass {option}, {expected}")
        if not pattern.fullmatch(value) or len(value) > _MOST_OF_REGION:
            raise UsageError(f"cannot use {option}: found {value}, expected {expected}", f"correct {option}")
    found = AwsAccount(id_ or "", region or "", "")
    default = f"arn:{found.partition}:securityhub:{found.region}:{found.id}:product/{found.id}/default"
    if product is None:
        return found._replace(product=default)
    matched = _PRODUCT.fullmatch(product)
    if not matched:
        raise UsageError(f"cannot use --aws-product-arn: found {product}, expected an ARN such as {default}", _OMIT)
    if matched["region"] != found.region:
        message = f"cannot use --aws-product-arn: its region is {matched['region']}, and --aws-region is {found.region}"
        raise UsageError(message, _OMIT)
    return found._replace(product=product)


def as_asff(assessment: Assessment, aws: AwsAccount | None) -> str:
    """Return a JSON array with a finding for each control, the controls that pass included: they close a finding.

    Raises UsageError without an account, which each finding contains.
    """
    import json

    named = aws or account(None, None, None)
    findings = [_finding(assessment, verdict, named) for verdict in common.verdicts_in_order(assessment)]
    return json.dumps(findings, indent=2) + "\n"


def _finding(assessment: Assessment, verdict: Verdict, aws: AwsAccount) -> dict[str, object]:
    control, when, steps = verdict.control, timestamp(assessment.when), verdict_fix(verdict)
    rated = control.rating
    label = str(rated.severity).upper() if verdict.is_open else "INFORMATIONAL"
    number, node = verdict_number(verdict), assessment.node or "unnamed"
    name = f"k3s-harden/{assessment.benchmark}/{control.id}"
    severity = {"Label": label, "Original": str(verdict.status)}
    about = {"node": node, "role": fact(assessment, ROLE), "k3sVersion": fact(assessment, K3S_VERSION)}
    # A long description is cut at its end.
    values = (("Expected", verdict.expected), ("Found", verdict.found), ("Reason", verdict.reason))
    sentences = [f"{name}: {text.rstrip('.')}." for name, text in values if text]
    description = " ".join((*sentences, control.why)) or control.id
    return {
        "SchemaVersion": _SCHEMA_VERSION,
        "Id": _identifier(f"{aws.region}/{aws.id}/{node}/{name}"),
        "ProductArn": aws.product,
        "ProductName": "k3s-harden",
        "GeneratorId": _identifier(name),
        "AwsAccountId": aws.id,
        "Types": [_TYPE],
        "CreatedAt": when,
        "UpdatedAt": when,
        "Severity": severity,
        "Title": _limited(f"{number} {control.recommendation}".strip(), 256),
        "Description": _limited(description, 1024),
        **({"Remediation": {"Recommendation": {"Text": _limited(steps, 512)}}} if steps else {}),
        "ProductFields": _fields(
            {
                "k3s-harden/benchmark": str(assessment.benchmark),
                "k3s-harden/control": control.id,
                "k3s-harden/number": number,
                "k3s-harden/level": str(control.level),
                "k3s-harden/severity": str(rated.severity),
                "k3s-harden/severity-reason": rated.reason,
                "k3s-harden/status": str(verdict.status),
                "k3s-harden/expected": verdict.expected,
                "k3s-harden/found": verdict.found,
                "k3s-harden/evidence": "; ".join(map(common.evidence_line, verdict.evidence)),
                "k3s-harden/owner": common.owner_name(verdict.owner),
                "k3s-harden/waiver": common.waived(verdict.waiver) if verdict.waiver else "",
                **{f"k3s-harden/{made.name}": made.value for made in common.all_facts(assessment)[:_MOST_FACTS]},
            },
            2048,
        ),
        "Resources": [
            {
                "Type": "Other",
                "Id": _identifier(node),
                "Partition": aws.partition,
                "Region": aws.region,
                "Details": {"Other": _fields(about, 1024)},
            }
        ],
        "Compliance": {
            "Status": _COMPLIANCE[verdict.status],
            **({"RelatedRequirements": [f"CIS Kubernetes {assessment.benchmark.number} {number}"]} if number else {}),
        },
        "RecordState": "ARCHIVED" if verdict.status in _ARCHIVED else "ACTIVE",
        "FindingProviderFields": {"Severity": severity, "Types": [_TYPE]},
    }


def _fields(texts: dict[str, str], most: int) -> dict[str, str]:
    """Return the texts that are not empty: the format allows no empty value."""
    return {name: _limited(text, most) for name, text in texts.items() if text.strip()}


def _limited(text: str, most: int) -> str:
    """Return the text with at most this number of bytes, and so of characters."""
    data = text.encode()
    return text if len(data) <= most else f"{data[: most - 3].decode(errors='ignore')}..."


def _identifier(text: str, most: int = 512) -> str:
    """Return the text; a long one is shortened and ends in a hash, so that it is stable and unique."""
    if len(text.encode()) <= most:
        return text
    digest = sha256(text.encode()).hexdigest()
    return f"{text.encode()[: most - len(digest) - 1].decode(errors='ignore')}-{digest}"
