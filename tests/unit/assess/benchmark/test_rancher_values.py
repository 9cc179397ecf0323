"""Rancher's profile k3s-cis-1.12 as a judge: the values, modes and owners that its tests accept and reject.

tests/data/benchmark/rancher-values.tsv is read from package/cfg/k3s-cis-1.12 of rancher/security-scan at 38bebe71, the
newest profile there. Numbers that it skips or leaves to a person are left out. Each difference has its reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.assess.assessment import ControlStatus
from agent.k3s.cis.versions import Benchmark
from tests.unit.assess.checks.nodes import CheckedNode
from tests.unit.assess.judge import Case, cases, given, hardened_server

DIFFERENCES = {
    ("1.2.9", "NodeRestriction,EventRateLimit"): "without a configuration of the plugin, the API server exits",
    ("1.2.14", "EventRateLimit"): "the API server adds a repeated argument to the list, which has NodeRestriction",
    ("1.3.6", "AllBeta=false"): "it disables the gate, too, and the profile looks only for the gate's name",
    ("1.3.7", "::1"): "the address is local, too",
    ("1.4.2", "::1"): "the address is local, too",
    ("4.2.14", "false"): "the profile only asks whether the argument is given",
}
"""By number and value."""
CASES = cases("benchmark/rancher-values.tsv")


@pytest.fixture(scope="module")
def server() -> Iterator[CheckedNode]:
    with hardened_server(34) as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_control_has_the_verdict_of_ranchers_profile_unless_a_reason_is_known(
    case: Case, server: CheckedNode
) -> None:
    with given(server, case):
        verdicts = server.assess(Benchmark.CIS_1_12).verdicts
    (status,) = (verdict.status for verdict in verdicts if verdict.number and verdict.number.text == case.rule)
    agrees = status is (ControlStatus.PASS if case.accepted else ControlStatus.FAIL)
    assert agrees != ((case.rule, case.value) in DIFFERENCES), status


def test_each_difference_is_one_of_a_case() -> None:
    assert not DIFFERENCES.keys() - {(case.rule, case.value) for case in CASES}
