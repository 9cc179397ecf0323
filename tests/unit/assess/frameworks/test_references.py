"""The tables of references: whole, with a reason for each rule that no control decides, and with known controls."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from agent.assess.benchmark import catalogue
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
from tests.unit.harden.settings.test_waivers import waiver

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
