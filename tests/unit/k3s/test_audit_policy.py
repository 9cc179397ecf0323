"""The audit policy: what the API server would refuse is found before, with its line."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.k3s.audit_policy import problems

POLICY = PurePosixPath("/etc/k3s-harden/audit-policy.yaml")

GOOD_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/healthz*", "*"]
  - level: RequestResponse
    omitStages: [Panic]
    resources:
      - group: ""
        resources: [secrets]
        resourceNames: [a]
      - group: rbac.authorization.k8s.io
  - level: Metadata
"""


def policy(data: str) -> list[tuple[str, str]]:
    return [(str(one.location).removeprefix(str(POLICY)), one.problem) for one in problems(data.encode(), POLICY)]


def test_a_policy_that_the_api_server_takes_has_no_problems() -> None:
    """Each of the levels and forms of a rule is allowed, as is JSON."""
    assert policy(GOOD_POLICY) == []
    assert policy('{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Request"}]}') == []


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", ":1", "`apiVersion` must be audit.k8s.io/v1"),
        ("kind: Policy", "kind: Polic", ":2", "`kind` must be Policy; found 'Polic'"),
        ("kind: Policy\n", "", ":1", "`kind` must be Policy; found nothing"),
        ("level: None", "level: none", ":5", "None, Metadata, Request or RequestResponse; found 'none'"),
        ("  - level: Metadata", "  - levels: Metadata", ":14", "found nothing"),
        ("level: Metadata", "level:", ":14", "found nothing"),
        ("  - level: Metadata", "  - Metadata", ":14", "a rule must be a mapping"),
        ("[Panic]", "[Panics]", ":8", "`omitStages`"),
        ('"/healthz*"', "healthz", ":6", "`nonResourceURLs`"),
        ('"/healthz*"', "/he*z", ":6", "`nonResourceURLs`"),
        ('"*"]', '"*"]\n    namespaces: [a]', ":5", "cannot be for `nonResourceURLs` and"),
        ("rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", ":13", "without a version"),
        ("        resources: [secrets]\n", "", ":10", "needs `resources`"),
        ("      - group: rbac.authorization.k8s.io", "      - pods", ":13", "`resources` must be a mapping"),
        ("[a]", '["<SECRET>"]', ":12", "placeholder <SECRET>"),
    ],
)
def test_a_policy_that_the_api_server_refuses(old: str, new: str, where: str, words: str) -> None:
    """The line and what must be there are told."""
    assert old in GOOD_POLICY
    ((place, problem),) = policy(GOOD_POLICY.replace(old, new, 1))
    assert place == where
    assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("- a\n", "no mapping"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "at least one rule"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n", "at least one rule"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {}\n", "at least one rule"),
        ("apiVersion: [\n", "not YAML"),
    ],
)
def test_a_policy_without_rules_is_refused(text: str, words: str) -> None:
    """A policy that is cut short or empty would keep the API server from starting."""
    ((_, problem),) = policy(text)
    assert words in problem


def test_all_problems_of_a_policy_are_told() -> None:
    """One look finds everything."""
    assert len(policy("rules:\n  - level: A\n  - level: B\n")) == 4
