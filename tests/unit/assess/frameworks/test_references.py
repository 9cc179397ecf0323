"""References of frameworks: whole, with known controls and reasons, and compared with other programs for the STIG.

tests/data/stig/mitre.tsv is read from the InSpec profile mitre/k8s-node-stig-baseline: ceed6f9f for all rules;
24ca1441, of V2R6, for V-242382, 242390, 242400, 242418, 242434, 242438, 242460 and 245541; 0179a649 for V-242407,
and 31e5de3a for V-254801. The twelve rules of k8s-cluster-stig-baseline (b30bba00) have no values.

tests/data/stig/diki.tsv is read from the tests of gardener/diki at 4ffbc7d4, pkg/shared/ruleset/disak8sstig/rules
and pkg/provider/virtualgarden; those with an outcome of warning are left out. Each difference has its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from agent.assess.assessment import ControlStatus
from agent.assess.benchmark import catalogue
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.assess.framework_view import rule_results
from agent.assess.frameworks.references import (
    Decision,
    StigRule,
    further_controls,
    nist_controls,
    references_of,
    stig_rules,
)
from agent.base import package_data
from agent.harden.settings.known_controls import require_known
from agent.k3s.cis.versions import Benchmark, only_in_frameworks
from tests.unit.assess.checks.nodes import CheckedNode
from tests.unit.assess.judge import Case, cases, given, hardened_server
from tests.unit.harden.settings.test_stages_and_waivers import waiver

KNOWN = {control.id for control in catalogue.all_controls()}


def test_the_release_has_92_rules_of_which_18_are_of_category_1() -> None:
    """As DISA's release notes count them. The rules are sorted, so that a diff to the next release is readable."""
    rules = stig_rules()
    assert Counter(rule.category for rule in rules) == {"CAT I": 18, "CAT II": 74}
    assert [rule.id for rule in rules] == sorted({rule.id for rule in rules})
    assert len({rule.version for rule in rules}) == len(rules)


@pytest.mark.parametrize("rule", stig_rules(), ids=lambda rule: rule.id)
def test_each_rule_is_classified_and_names_known_controls(rule: StigRule) -> None:
    """A rule that its controls do not decide has a reason."""
    assert re.fullmatch(rf"S{rule.id}r\d+_rule", rule.rule_id)
    assert re.fullmatch(r"CNTR-K8-\d{6}", rule.version)
    assert re.fullmatch(r"SRG-APP-\d{6}-CTR-\d{6}", rule.group)
    assert set(rule.controls) <= KNOWN
    assert bool(rule.controls) or rule.decision is not Decision.HERE
    assert not rule.controls or rule.decision in (Decision.HERE, Decision.SITE)
    assert bool(rule.note) or rule.decision is Decision.HERE
    assert not rule.not_applicable_from or rule.decision is Decision.NOT_APPLICABLE
    assert rule.nist, "each rule belongs to a control of NIST"


def test_each_cci_is_of_a_rule_and_only_one_has_no_control_of_revision_5() -> None:
    """DISA assigns CCI-000196 only to revision 4."""
    listed = {cci for cci, _ in package_data.rows("assess", "frameworks", "cci.tsv")}
    used = {cci for rule in stig_rules() for cci in rule.ccis}
    assert (used - listed, listed - used) == ({"CCI-000196"}, set())


def test_the_controls_of_nist_are_in_the_order_of_the_catalog() -> None:
    found = nist_controls()
    assert len(found) == 23
    assert list(found) == sorted(found, key=lambda name: (name[:2], [int(part) for part in re.findall(r"\d+", name)]))


def test_a_control_without_a_rule_has_no_references() -> None:
    """No second source agrees on a control of NIST for it."""
    assert references_of("terminated-pod-gc-threshold") == ((), ())
    assert references_of("audit-log-path") == (("V-242402", "V-242465"), ("AU-14(1)", "CM-6"))


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_framework_adds_only_controls_that_the_benchmark_does_not_have(benchmark: Benchmark) -> None:
    added = [control.id for control in further_controls(benchmark)]
    assert set(only_in_frameworks()) <= set(added)
    assert not {control.id for control in catalogue.controls_of(benchmark)} & set(added)


def test_each_control_only_in_frameworks_is_named_by_a_rule() -> None:
    named = {control for rule in stig_rules() for control in rule.controls}
    assert set(only_in_frameworks()) <= named


@pytest.mark.parametrize("control", only_in_frameworks())
def test_a_waiver_can_name_a_control_that_is_only_in_frameworks(control: str) -> None:
    require_known([waiver(control)])


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
