"""An assessment in the terms of the Kubernetes STIG and of NIST SP 800-53."""

from __future__ import annotations

import pytest
import yaml

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.assess.benchmark.catalogue import all_controls
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.assess.framework_view import coverage, in_framework, rule_results, worst
from agent.assess.frameworks import Framework
from agent.assess.frameworks.references import Decision, stig_rules
from agent.base.repair import Repair
from agent.base.report import K3S_VERSION, ROLE, Fact
from agent.base.value import replace
from tests import stig_states
from tests.unit.assess.checks.nodes import CheckedNode
from tests.unit.assessed import assessment

FAIL, PASS, WAIVED, MANUAL = ControlStatus.FAIL, ControlStatus.PASS, ControlStatus.WAIVED, ControlStatus.MANUAL
CONTROLS = {control.id: control for control in all_controls()}


def judged(configured: CheckedNode) -> dict[str, ControlStatus]:
    found = assess_host(configured.host(), configured.request(), Scope(with_frameworks=True)).assessment
    return {result.rule.id: result.status for result in rule_results(found)}


def test_a_hardened_server_meets_each_rule_that_is_decided_here_but_two(hardened: CheckedNode) -> None:
    """K3s sets a directory of static pods, and only the cluster tells about Secrets in environment variables."""
    found = judged(hardened)
    here = {rule.id: found[rule.id] for rule in stig_rules() if rule.decision is Decision.HERE}
    others = {name: status for name, status in here.items() if status is not PASS}
    assert others == {"V-242397": FAIL, "V-242415": MANUAL}
    hardened.config("kubelet-arg: [pod-manifest-path=]\n")
    assert judged(hardened)["V-242397"] is PASS


def test_each_rule_about_an_argument_fails_with_a_wrong_value(server: CheckedNode) -> None:
    server.config(yaml.safe_dump(stig_states.configuration(stig_states.ARGUMENTS)))
    found = judged(server)
    assert {name: found[name] for name in stig_states.rules(stig_states.ARGUMENTS) if found[name] is not FAIL} == {}


def test_each_rule_that_is_decided_here_has_a_state_in_which_it_fails() -> None:
    """tests/k8s/test_stig.py puts the real components into these states."""
    named = stig_states.rules(stig_states.ARGUMENTS, stig_states.ACCESS, stig_states.ETCD)
    named += [f"V-{number}" for number in (stig_states.ETCD_DATA, stig_states.POD_ENVIRONMENT)]
    assert sorted(named) == [rule.id for rule in stig_rules() if rule.decision is Decision.HERE]


def with_status(name: str, status: ControlStatus) -> Verdict:
    return Verdict(CONTROLS[name], None, status, "", "", (), "", Repair())


def of(*verdicts: Verdict) -> Assessment:
    return assessment(*verdicts)


def status_of(rule: str, found: Assessment) -> ControlStatus:
    (status,) = (result.status for result in rule_results(found) if result.rule.id == rule)
    return status


@pytest.mark.parametrize("status", [FAIL, WAIVED, MANUAL, ControlStatus.UNKNOWN])
def test_a_rule_has_the_worst_status_of_its_controls(status: ControlStatus) -> None:
    found = of(with_status("secrets-encryption", PASS), with_status("apiserver-encryption-providers", status))
    assert status_of("V-274882", found) is status


def test_a_rule_with_a_waived_control_is_open_even_if_another_control_is_unknown() -> None:
    found = of(
        with_status("secrets-encryption", WAIVED), with_status("apiserver-encryption-providers", ControlStatus.UNKNOWN)
    )
    assert status_of("V-274882", found) is WAIVED
    assert "and 22 of these have no open rule" in coverage(found, Framework.NIST)


@pytest.mark.parametrize(("status", "expected"), [(PASS, MANUAL), (FAIL, FAIL), (WAIVED, WAIVED), (MANUAL, MANUAL)])
def test_a_control_can_open_a_rule_of_the_site_but_not_close_it(status: ControlStatus, expected: ControlStatus) -> None:
    assert status_of("V-242403", of(with_status("audit-policy-file", status))) is expected


def test_a_waiver_that_is_the_result_of_a_review_does_not_open_a_rule() -> None:
    """A person reviewed the manual control, and recorded the result."""
    reviewed = with_status("secrets-as-files", WAIVED)._replace(is_reviewed=True)
    assert status_of("V-242415", of(reviewed)) is PASS
    assert status_of("V-242415", of(reviewed._replace(is_reviewed=False))) is WAIVED
    site = with_status("audit-policy-file", WAIVED)._replace(is_reviewed=True)
    assert status_of("V-242403", of(site)) is MANUAL


@pytest.mark.parametrize("rule", ["V-242403", "V-242410", "V-242411", "V-242412", "V-242413", "V-254800"])
def test_a_rule_about_components_of_servers_does_not_apply_to_an_agent(rule: str) -> None:
    elsewhere = [
        with_status(name, ControlStatus.NOT_APPLICABLE)
        for name in ("audit-policy-file", "admission-control-config-file")
    ]
    agent = replace(of(*elsewhere), facts=(Fact(ROLE, "agent", "a test"),))
    assert status_of(rule, agent) is ControlStatus.NOT_APPLICABLE
    server = replace(of(), facts=(Fact(ROLE, "server", "a test"),))
    assert status_of(rule, server) is MANUAL


def test_rules_about_data_in_transit_belong_to_its_confidentiality() -> None:
    """As their requirement of the Container Platform SRG, V-233224, does."""
    found = {rule.id: rule.nist for rule in stig_rules()}
    assert {found[f"V-24554{number}"] for number in (2, 3, 4)} == {("SC-8", "SC-12(3)")}


def test_a_rule_without_a_verdict_is_for_a_person() -> None:
    assert status_of("V-242402", of()) is MANUAL


@pytest.mark.parametrize(
    ("version", "expected"), [("v1.25.3+k3s1", MANUAL), ("v1.26.0+k3s1", ControlStatus.NOT_APPLICABLE), ("?", MANUAL)]
)
def test_a_rule_does_not_apply_from_the_version_on_that_removed_its_subject(
    version: str, expected: ControlStatus
) -> None:
    found = replace(of(), facts=(Fact(K3S_VERSION, version, "a test"),))
    assert status_of("V-242399", found) is expected


def test_a_view_has_only_the_controls_of_the_framework_by_its_rules() -> None:
    found = in_framework(
        of(
            with_status("audit-log-path", PASS),
            with_status("vm.panic_on_oom", FAIL),
            with_status("etcd-auto-tls", FAIL),
        ),
        Framework.STIG,
    )
    shown = [(verdict.control.id, verdict.number.text, verdict.section) for verdict in found.verdicts if verdict.number]
    assert shown == [("etcd-auto-tls", "V-242379", "CAT II"), ("audit-log-path", "V-242402 V-242465", "CAT II")]
    nist = in_framework(of(with_status("audit-log-path", PASS)), Framework.NIST)
    assert [verdict.section for verdict in nist.verdicts] == ["AU Audit and Accountability"]


def test_the_exit_code_of_a_view_is_about_its_controls() -> None:
    assert int(in_framework(of(with_status("vm.panic_on_oom", FAIL)), Framework.STIG).exit_code) == 0


def test_the_coverage_counts_all_rules_by_who_decides_them() -> None:
    text = coverage(of(with_status("etcd-auto-tls", FAIL)), Framework.STIG)
    assert text.startswith("Kubernetes STIG V2R6: of 92 rules, 64 decided here (1 FAIL, 63 MANUAL), 14 of the site (")
    assert text.endswith("10 not applicable to K3s (10 NOT_APPLICABLE), 4 not covered (4 MANUAL)")
    nist = coverage(of(with_status("etcd-auto-tls", FAIL)), Framework.NIST)
    assert "belong to 23 controls, and 22 of these have no open rule" in nist


def test_the_worst_status_comes_first() -> None:
    assert worst((PASS, WAIVED, FAIL, MANUAL)) is FAIL
