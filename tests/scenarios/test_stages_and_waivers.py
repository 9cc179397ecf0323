"""What a site waives or postpones is named in each report of each verb, with its date."""

from __future__ import annotations

import pytest

from agent.reports.formats import OF_AUDITORS, REPORT_FORMATS, Format
from tests.scenarios.host_tree import SETTINGS, HostTree

SITE = """\
stages: {until: 2099-01-01, pod-security: warn, network-policies: off}
waivers: [{control: audit-log-maxage, reason: shipped every day, expires: 2098-12-31}]
"""
NAMED = ("stages.pod-security", "stages.network-policies", "shipped every day", "2098-12-31", "2099-01-01")
RESULT = "1 waived, 2 postponed until 2099-01-01"
ELSEWHERE = (Format.AUTO, Format.OPENMETRICS, *OF_AUDITORS)
"""Metrics have only numbers, and formats of auditors the rules of their framework; both have tests of their own."""


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("output_format", REPORT_FORMATS[1:])
@pytest.mark.parametrize("verb", ["diff", "apply", "check"])
def test_a_run_names_them_with_their_dates(host: HostTree, verb: str, output_format: Format) -> None:
    host.write(SETTINGS, SITE)
    assert host.run("apply").code == 0
    report = flat(host.run(verb, "--format", output_format).stdout)
    assert [name for name in NAMED if name not in report] == []
    assert RESULT in report or '"until": "2099-01-01"' in report


@pytest.mark.parametrize("output_format", [found for found in Format if found not in ELSEWHERE])
def test_an_assessment_names_them_with_their_dates(host: HostTree, output_format: Format) -> None:
    host.write(SETTINGS, SITE)
    report = flat(host.run("assess", "--format", output_format, "--verbose", *host.options).stdout)
    assert [name for name in NAMED if name not in report] == []
