"""Other programs for the Kubernetes STIG as judges: the values, modes and owners that they accept and reject, by rule.

tests/data/stig/mitre.tsv is read from the InSpec profile mitre/k8s-node-stig-baseline: ceed6f9f for all rules;
24ca1441, of V2R6, for V-242382, 242390, 242400, 242418, 242434, 242438, 242460 and 245541; 0179a649 for V-242407,
and 31e5de3a for V-254801. The twelve rules of k8s-cluster-stig-baseline (b30bba00) have no values.

tests/data/stig/diki.tsv is read from the tests of gardener/diki at 4ffbc7d4, pkg/shared/ruleset/disak8sstig/rules
and pkg/provider/virtualgarden; those with an outcome of warning are left out. Each difference has its reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.assess.assessment import ControlStatus
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.assess.framework_view import rule_results
from tests.unit.assess.checks.nodes import CheckedNode
from tests.unit.assess.judge import Case, cases, given, hardened_server

EXACT = "the profile compares the whole text, and the rule's check text asks only for AlwaysAllow"
ONLY_THE_API_SERVER = "the rule is about the API server, whose APIs the gates of another component do not enable"
APPROVED = [
    f"TLS_ECDHE_{key}_WITH_AES_{suite}"
    for key, suite in (
        ("ECDSA", "128_GCM_SHA256"),
        ("RSA", "128_GCM_SHA256"),
        ("RSA", "256_GCM_SHA384"),
        ("ECDSA", "256_GCM_SHA384"),
    )
]
OF_DIKI = {
    ("V-242459", "700"): "the directory of etcd admits only root",
    ("V-242467", "640"): "the rule's check text asks for 600",
}
OF_MITRE = {
    ("V-242382", "RBAC,Node"): EXACT,
    ("V-242382", "Node,RBAC,Webhook"): EXACT,
    ("V-242384", "::1"): "the address is local, too",
    ("V-242385", "::1"): "the address is local, too",
    ("V-242400", "kube-scheduler AllAlpha=true"): ONLY_THE_API_SERVER,
    ("V-242400", "kube-controller-manager AllAlpha=true"): ONLY_THE_API_SERVER,
    ("V-242400", "kubelet AllAlpha=true"): ONLY_THE_API_SERVER,
    ("V-242418", ",".join(APPROVED)): "the profile has two more suites, which the rule's text of V2R6 does not name",
    ("V-242436", "NodeRestriction"): "the plugin is enabled by default, and only disable-admission-plugins disables it",
    ("V-242445", "0:0"): "K3s runs etcd as root, so the rule does not apply",
    ("V-242445", "etcd:etcd"): "K3s runs etcd as root, so the rule does not apply",
    ("V-242459", "666"): "the directory of etcd admits only root",
    ("V-245541", "1m"): "the profile accepts each value but 0, and the rule's check text asks for 5m or more",
}
DIFFERENCES = {"mitre": OF_MITRE, "diki": OF_DIKI}
"""By rule and value; with the component if the rule has several."""
CASES = [(judge, case) for judge in DIFFERENCES for case in cases(f"stig/{judge}.tsv")]


def named(case: Case) -> set[tuple[str, str]]:
    return {(case.rule, case.value), (case.rule, f"{case.component} {case.value}")}


@pytest.fixture(scope="module")
def server() -> Iterator[CheckedNode]:
    with hardened_server(34) as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize(("judge", "case"), CASES, ids=str)
def test_a_rule_has_the_verdict_of_the_judge_unless_a_reason_is_known(
    judge: str, case: Case, server: CheckedNode
) -> None:
    with given(server, case):
        found = assess_host(server.host(), server.request(), Scope(with_frameworks=True)).assessment
    (status,) = (result.status for result in rule_results(found) if result.rule.id == case.rule)
    agrees = status is (ControlStatus.PASS if case.accepted else ControlStatus.FAIL)
    assert agrees != bool(named(case) & DIFFERENCES[judge].keys()), status


@pytest.mark.parametrize("judge", DIFFERENCES)
def test_each_difference_is_one_of_a_case(judge: str) -> None:
    assert not DIFFERENCES[judge].keys() - {name for own, case in CASES if own == judge for name in named(case)}
