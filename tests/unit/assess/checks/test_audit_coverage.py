"""The review of the audit policy: its rules are the evidence."""

from __future__ import annotations

import pytest

from agent.assess.assessment import ControlStatus
from tests.unit.assess.checks.nodes import CONFIG, DATA, CheckedNode, seen

CONTROL = "audit-policy-coverage"
NAMED = "kube-apiserver-arg: [audit-policy-file=/etc/audit.yaml]\n"
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  users: [system:kube-proxy]
  verbs: [watch]
- level: Request
  resources:
  - group: ""
    resources: [secrets, pods/exec]
- level: Metadata
"""


def test_each_rule_is_evidence_with_its_line(server: CheckedNode) -> None:
    server.put("/etc/audit.yaml", POLICY)
    server.config(NAMED)
    verdict = server.verdict(CONTROL)
    assert verdict.status is ControlStatus.MANUAL
    assert seen(verdict) == (
        ("--audit-policy-file=/etc/audit.yaml", f"{CONFIG}:1"),
        ("level None for users system:kube-proxy; verbs watch", "/etc/audit.yaml:4"),
        ("level Request for resources secrets, pods/exec", "/etc/audit.yaml:7"),
        ("level Metadata for all requests", "/etc/audit.yaml:11"),
    )


def test_the_policy_of_the_guide_logs_all_requests(server: CheckedNode) -> None:
    server.harden()
    verdict = server.verdict(CONTROL)
    assert verdict.status is ControlStatus.PASS
    shown, location = seen(verdict)[-1]
    assert (shown, location) == ("level Metadata for all requests", f"{DATA}/server/audit.yaml")


@pytest.mark.parametrize(
    ("config", "text", "shown"),
    [
        ("", None, "--audit-policy-file is not set, so nothing is logged"),
        (NAMED, None, "missing, or not readable"),
        (NAMED, "- a\n", "an audit policy must be a mapping; found a list"),
    ],
)
def test_without_a_policy_the_evidence_says_why(server: CheckedNode, config: str, text: str | None, shown: str) -> None:
    if text is not None:
        server.put("/etc/audit.yaml", text)
    server.config(config)
    verdict = server.verdict(CONTROL)
    expected = ControlStatus.MANUAL if config else ControlStatus.FAIL
    assert (verdict.status, seen(verdict)[-1][0]) == (expected, shown)


def test_a_long_policy_is_cut_with_the_number_of_omitted_rules(server: CheckedNode) -> None:
    server.put("/etc/audit.yaml", POLICY + "- level: Metadata\n" * 100)
    server.config(NAMED)
    assert seen(server.verdict(CONTROL))[-1] == ("and 53 more rules", "/etc/audit.yaml")


HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
PASS, FAIL, MANUAL = ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.MANUAL
NOTHING = "level: None"


def of(*resources: str) -> str:
    return f"resources: [{{group: '', resources: [{', '.join(map(repr, resources))}]}}]"


@pytest.mark.parametrize(
    ("rule", "expected", "found"),
    [
        (NOTHING, FAIL, "get secrets"),
        (f"{NOTHING}, {of('secrets')}, verbs: [get, list, watch]", FAIL, "get secrets"),
        (f"{NOTHING}, {of('secrets')}, userGroups: ['system:authenticated']", FAIL, "list secrets"),
        (f"{NOTHING}, {of('pods/*')}", FAIL, "create pods/exec"),
        (f"{NOTHING}, {of('*/exec')}", FAIL, "create pods/exec"),
        ("level: Metadata, omitStages: [RequestReceived, ResponseComplete]", FAIL, "get secrets"),
        (f"{NOTHING}, verbs: [deletecollection]", FAIL, "deletecollection secrets"),
        (f"{NOTHING}, userGroups: ['system:masters']", FAIL, "get secrets"),
        (f"{NOTHING}, {of('secrets')}, users: [robot]", MANUAL, ""),
        (f"{NOTHING}, {of('secrets')}, namespaces: [shop]", MANUAL, ""),
        (f"{NOTHING}, nonResourceURLs: ['/healthz*']", PASS, "logs all"),
        (f"{NOTHING}, {of('events')}", PASS, "logs all"),
        (f"{NOTHING}, {of('pods')}, verbs: [get, list]", PASS, "logs all"),
        ("level: Metadata, omitStages: [RequestReceived]", PASS, "logs all"),
    ],
)
def test_the_first_rule_that_matches_a_request_decides(
    server: CheckedNode, rule: str, expected: ControlStatus, found: str
) -> None:
    """A rule for some users, namespaces or objects decides about those only. Another rule logs everything else."""
    server.put("/etc/audit.yaml", f"{HEAD}rules:\n- {{{rule}}}\n- level: Metadata\n")
    server.config(NAMED)
    verdict = server.verdict(CONTROL)
    assert verdict.status is expected
    assert found in verdict.found


def test_requests_that_no_rule_matches_are_not_logged(server: CheckedNode) -> None:
    server.put("/etc/audit.yaml", f"{HEAD}rules:\n- {{level: Metadata, {of('secrets')}}}\n")
    server.config(NAMED)
    assert server.verdict(CONTROL).found.startswith("does not log get configmaps, ")
