"""Problems of an audit policy that the API server rejects, each with its line."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.k3s.audit_policy import policy_problems, rejected_by_version, why_nothing_is_logged
from agent.k3s.roles_and_versions import Version

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
    return [
        (str(problem.location).removeprefix(str(POLICY)), problem.problem)
        for problem in policy_problems(data.encode(), POLICY)
    ]


def test_a_valid_policy_has_no_problems() -> None:
    assert policy(GOOD_POLICY) == []
    assert policy('{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Request"}]}') == []
    assert policy("apiVersion: audit.k8s.io/v1\nrules: [{level: Request}]\n") == []
    assert policy("apiVersion: audit.k8s.io/v1\nkind:\nrules: [{level: Request}]\n") == []


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", ":1", "`apiVersion` must be audit.k8s.io/v1"),
        ("kind: Policy", "kind: Polic", ":2", "`kind` must be Policy; found 'Polic'"),
        ("kind: Policy", "kind: 5", ":2", "`kind` must be Policy; found 5"),
        ("level: None", "level: none", ":5", "None, Metadata, Request or RequestResponse; found 'none'"),
        ("  - level: Metadata", "  - levels: Metadata", ":14", "found nothing"),
        ("level: Metadata", "level:", ":14", "found nothing"),
        ("  - level: Metadata", "  - Metadata", ":14", "a rule must be a mapping"),
        ("[Panic]", "[Panics]", ":8", "`omitStages`"),
        ('"/healthz*"', "healthz", ":6", "`nonResourceURLs`"),
        ('"/healthz*"', "/he*z", ":6", "`nonResourceURLs`"),
        ('"*"]', '"*"]\n    namespaces: [a]', ":5", "cannot have `resources` or `namespaces`"),
        ("rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", ":13", "without a version"),
        ("        resources: [secrets]\n", "", ":10", "requires `resources`"),
        ("      - group: rbac.authorization.k8s.io", "      - pods", ":13", "`resources` must be a mapping"),
        ("[a]", '["<SECRET>"]', ":12", "placeholder <SECRET>"),
    ],
)
def test_a_problem_has_its_line_and_the_expected_value(old: str, new: str, where: str, words: str) -> None:
    assert old in GOOD_POLICY
    ((place, problem),) = policy(GOOD_POLICY.replace(old, new, 1))
    assert place == where
    assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping; found nothing"),
        ("- a\n", "must be a mapping; found a list"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "at least one rule"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n", "at least one rule"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {}\n", "at least one rule"),
        ("apiVersion: [\n", "not YAML"),
    ],
)
def test_a_policy_without_rules_has_one_problem(text: str, words: str) -> None:
    ((_, problem),) = policy(text)
    assert words in problem


def test_all_problems_of_a_policy_are_listed() -> None:
    assert len(policy("kind: A\nrules:\n  - level: A\n  - level: B\n")) == 4


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ("[{level: Metadata}]", None),
        ("[{level: None, verbs: [get]}, {level: Request}]", None),
        ("[{level: None, verbs: []}, {level: Request}]", 3),
        ("[{level: None, verbs: [get]}]", 1),
        ("[{level: None, userGroups: ['system:authenticated']}, {level: Metadata}]", None),
        ("[{level: None, userGroups: ['system:authenticated', 'system:unauthenticated']}, {level: Metadata}]", 3),
        (
            """[{level: None, userGroups: ['system:authenticated']},
            {level: None, userGroups: ['system:unauthenticated']}, {level: Metadata}]""",
            4,
        ),
        ("[{level: Metadata, omitStages: [RequestReceived]}]", None),
        ("[{level: Metadata, omitStages: [RequestReceived, ResponseComplete]}]", 3),
    ],
)
def test_a_policy_logs_nothing_if_no_rule_that_logs_is_reached(rules: str, line: int | None) -> None:
    policy = f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n"
    assert why_nothing_is_logged(policy.encode(), POLICY) == line


def test_any_group_is_accepted_from_1_36_on() -> None:
    """The API server of 1.35 rejects `*`; that of 1.36 does not."""
    policy = (
        b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
        b"- {level: Metadata, resources: [{group: '*', resources: ['*']}]}\n"
    )
    assert len(policy_problems(policy, POLICY)) == 1
    assert len(rejected_by_version(policy, POLICY, Version.parse("1.35"))) == 1
    assert rejected_by_version(policy, POLICY, Version.parse("1.36")) == ()
    assert rejected_by_version(policy, POLICY, None) == ()


def test_a_placeholder_is_not_a_problem_of_the_api_server() -> None:
    """The API server treats the placeholder as a name."""
    policy = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, namespaces: [<NAMESPACE>]}]\n"
    assert len(policy_problems(policy, POLICY)) == 1
    assert rejected_by_version(policy, POLICY, Version.parse("1.35")) == ()
