"""Objects that admission policies of the settings would reject if they were created again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agent.base.errors import ExitCode
from agent.base.value import replace
from agent.findings.impact import Topic, When, admission_policies
from agent.harden.guide.policy_files import Action, bindings
from agent.harden.settings.schema import PodSecurityStage, Settings
from agent.k3s.roles_and_versions import Version
from agent.reports.impact_report import summary
from tests.unit.findings.impact.sample_cluster import Json, impact, namespace, thing

ENFORCE = "pod-security.kubernetes.io/enforce"
DENY = replace(Settings(), pod_security_policy=Action.DENY, binding_policy=Action.DENY)
PRIVILEGED = namespace("ci", **{ENFORCE: "privileged"})


def binding(role: str, subject: str, own: str = "", kind: str = "ClusterRole") -> Json:
    subject_kind, _, name = subject.partition(" ")
    subjects = [{"kind": "User", "name": "carol"}, {"kind": subject_kind, "name": name}]
    cluster = "" if own else "Cluster"
    return thing(f"{cluster}RoleBinding", "b", own, roleRef={"kind": kind, "name": role}, subjects=subjects)


def rejected(*objects: Json, settings: Settings = DENY, **more: Any) -> dict[str, list[str]]:
    found = impact(*objects, settings=settings, **more).breaks
    return {str(entry.object): [reason.field for reason in entry.reasons] for entry in found}


@pytest.mark.parametrize(
    ("item", "fields"),
    [
        (namespace("cattle-system"), ["metadata.name"]),
        (namespace("own"), ["metadata.name"]),
        (namespace("other"), []),
        (PRIVILEGED, [f"metadata.labels[{ENFORCE}]"]),
        (namespace("ci", **{ENFORCE: "baseline"}), [f"metadata.labels[{ENFORCE}]"]),
        (namespace("ci", **{ENFORCE: "restricted"}), []),
        (namespace("ci", **{f"{ENFORCE}-version": "v1.30"}), [f"metadata.labels[{ENFORCE}-version]"]),
        (namespace("ci", **{f"{ENFORCE}-version": "latest"}), []),
        (namespace("ci", **{"pod-security.kubernetes.io/warn": "privileged"}), []),
        (namespace("kube-node-lease", **{ENFORCE: "privileged"}), []),
        (namespace("cattle-system", **{ENFORCE: "privileged"}), ["metadata.name", f"metadata.labels[{ENFORCE}]"]),
    ],
)
def test_namespaces_that_escape_pod_security_are_named(item: Json, fields: Sequence[str]) -> None:
    settings = replace(DENY, exempt_namespaces=("own",))
    name = f"Namespace/{item['metadata']['name']}"
    assert rejected(item, settings=settings) == ({name: fields} if fields else {})


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (binding("cluster-admin", "Group system:unauthenticated"), "ClusterRoleBinding/b"),
        (binding("edit", "User system:anonymous"), "ClusterRoleBinding/b"),
        (binding("admin", "Group system:serviceaccounts", "shop"), "shop/RoleBinding/b"),
        (binding("edit", "User system:authenticated", "shop"), "shop/RoleBinding/b"),
        (binding("view", "Group system:authenticated", "shop"), ""),
        (binding("admin", "Group system:authenticated", "shop", "Role"), ""),
        (binding("admin", "Group system:serviceaccounts:shop", "shop"), ""),
        (binding("cluster-admin", "Group system:masters"), ""),
    ],
)
def test_bindings_of_wide_roles_to_everybody_are_named(item: Json, name: str) -> None:
    assert rejected(item) == ({name: ["subjects"]} if name else {})


def test_the_lists_are_those_of_the_policy() -> None:
    for names in (admission_policies._EVERYBODY, admission_policies._WIDE_ROLES):
        assert json.dumps(names).replace('"', "'") in bindings()


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        (Settings(), {}),
        (replace(DENY, pod_security_policy=Action.OFF, binding_policy=Action.OFF), {}),
        (DENY, {"version": Version.parse("v1.36.1+k3s1")}),
        (DENY, {"rancher_managed": True}),
        (replace(DENY, rancher_managed=True), {}),
    ],
)
def test_without_policies_nothing_is_named(settings: Settings, more: dict[str, Any]) -> None:
    everybody = binding("edit", "Group system:serviceaccounts")
    found = impact(PRIVILEGED, everybody, settings=settings, **more)
    assert (found.breaks, summary(found)) == ((), "result 0: nothing breaks")


def test_each_policy_has_its_own_setting() -> None:
    everybody = binding("edit", "Group system:serviceaccounts")
    off = replace(DENY, pod_security_policy=Action.OFF), replace(DENY, binding_policy=Action.OFF)
    named = [[*rejected(PRIVILEGED, everybody, settings=settings)] for settings in off]
    assert named == [["ClusterRoleBinding/b"], ["Namespace/ci"]]


@pytest.mark.parametrize(
    ("settings", "condition"),
    [
        (DENY, "unless an administrator or a user in `admission-policies.managers` creates it"),
        (DENY, " (admission-policies.pod-security: deny)"),
        (replace(DENY, pod_security_policy=Action.WARN), "pod-security: warn)"),
        (replace(DENY, stage_pod_security=PodSecurityStage.BASELINE), "pod-security: warn)"),
        (replace(DENY, policies_bind_administrators=True), "unless a user in `admission-policies.managers` creates"),
    ],
)
def test_it_is_said_what_the_policy_does_and_for_whom_not(settings: Settings, condition: str) -> None:
    (found,) = impact(PRIVILEGED, settings=settings).breaks
    assert (found.topic, found.when) == (Topic.POLICIES, When.CREATED)
    assert condition in found.condition


def test_it_does_not_count_as_broken() -> None:
    """The object exists, and it is not known who would create it again."""
    found = impact(PRIVILEGED, settings=DENY)
    assert found.exit_code is ExitCode.COMPLIANT
    assert summary(found) == "result 0: 1 when it is created again"
