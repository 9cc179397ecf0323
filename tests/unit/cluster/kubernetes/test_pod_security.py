"""Pod Security: the level of a namespace, and the rules, compared with their authors' fixtures and real API servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.cluster.kubernetes import objects
from agent.cluster.kubernetes.objects import Namespace
from agent.cluster.kubernetes.pod_security import (
    PodSecurityDefaults,
    PodSecurityLevel,
    Violation,
    level_of,
    merged_fix,
    violations,
)
from tests.unit.cluster.kubernetes.samples import STRICT

DEFAULTS = PodSecurityDefaults(PodSecurityLevel.BASELINE, frozenset({"storage"}))


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("shop", {}, "baseline"),
        ("shop", {"enforce": "restricted"}, "restricted"),
        ("shop", {"enforce": "privileged"}, "privileged"),
        ("shop", {"warn": "restricted"}, "baseline"),
        ("shop", {"enforce": "restricted", "enforce-version": "v1.34"}, "restricted"),
        ("shop", {"enforce": "restricted", "enforce-version": "v1.21"}, "baseline"),
        ("shop", {"enforce": "restricted", "enforce-version": "latest"}, "restricted"),
        ("shop", {"enforce": "Privileged"}, "restricted"),
        ("shop", {"enforce": "exempt"}, "restricted"),
        ("storage", {"enforce": "restricted"}, "exempt"),
    ],
)
def test_the_label_overrides_the_default(name: str, labels: dict[str, str], expected: str) -> None:
    """An exempt namespace has no level. An unknown value is enforced as restricted, an old version is weaker."""
    namespace = Namespace(name, {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()})
    assert str(level_of(namespace, DEFAULTS)) == expected


def test_an_unknown_default_is_not_a_level() -> None:
    unknown = PodSecurityDefaults(None)
    assert level_of(Namespace("shop", {}), unknown) is None
    labelled = Namespace("shop", {"pod-security.kubernetes.io/enforce": "baseline"})
    assert level_of(labelled, unknown) is PodSecurityLevel.BASELINE


def test_a_level_includes_those_below_it() -> None:
    order = (PodSecurityLevel.PRIVILEGED, PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED)
    for at, level in enumerate(order):
        assert [level.includes(other) for other in order] == [at >= number for number in range(3)]
    assert not any(PodSecurityLevel.EXEMPT.includes(other) for other in order)


DATA = Path(__file__).parents[3] / "data/pod-security"
BASELINE, RESTRICTED = PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED
NEWEST = 37


def template(*contexts: dict[str, Any] | None, **spec: Any) -> dict[str, Any]:
    """Return a template with a container for each security context; they are named a, b, ..."""
    containers = [{"name": name, "securityContext": context} for name, context in zip("abc", contexts)]
    return {"spec": {"containers": containers, **spec}}


def test_fixtures_of_the_authors_pass_and_fail_in_all_their_versions() -> None:
    """The file covers the versions 1.0 to 1.37 of both standards."""
    lines = (DATA / "fixtures.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        level, verdict, first, last, text = line.split("\t")
        for minor in range(int(first), int(last) + 1):
            found = violations(json.loads(text), PodSecurityLevel(level), minor)
            assert bool(found) == (verdict == "fail"), (level, minor, text, found)
    assert len(lines) > 300


def test_a_parsed_pod_keeps_all_that_the_rules_read() -> None:
    lines = (DATA / "fixtures.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        template = json.loads(line.split("\t")[-1])
        for minor in (18, NEWEST):
            assert violations(objects.pod(template).template, RESTRICTED, minor) == violations(
                template, RESTRICTED, minor
            )


@pytest.mark.parametrize(("version", "minor"), [("1.34.4", 34), ("1.37.2", 37)])
def test_recorded_answers_of_api_servers_are_predicted(version: str, minor: int) -> None:
    """Another answer than `ok` or a rejection by Pod Security says nothing about its rules."""
    lines = (DATA / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    judged = 0
    for case in map(json.loads, lines):
        for level, answer in zip((BASELINE, RESTRICTED), case[version]):
            if answer == "ok" or f'"{level}:' in answer:
                judged += 1
                assert bool(violations(case["pod"], level, minor)) == (answer != "ok"), (case["case"], answer)
    assert judged > 200


def test_a_violation_names_the_field_and_both_values() -> None:
    found = violations(template({**STRICT, "capabilities": {"drop": ["all"], "add": ["SYS_TIME"]}}), RESTRICTED, NEWEST)
    path = "spec.containers[a].securityContext.capabilities"
    at = ("spec", ("containers", "a"), "securityContext", "capabilities")
    assert found == (
        Violation("capabilities_restricted", f"{path}.drop", '["all"]', '["ALL"]', ((*at, "drop"), ["ALL"])),
        Violation(
            "capabilities_restricted", f"{path}.add", "SYS_TIME", "NET_BIND_SERVICE", ((*at, "add"), []), asks=True
        ),
    )


def test_what_no_container_has_is_set_once_for_the_pod() -> None:
    without = {key: STRICT[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    pod = template(without, STRICT, without)
    found = violations(pod, RESTRICTED, NEWEST)
    assert [(item.field, item.found) for item in found] == [
        ("spec.securityContext.runAsNonRoot", "unset in a, c"),
        ("spec.securityContext.seccompProfile.type", "unset in a, c"),
    ]
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert merged_fix(pod, found) == {"spec": {"securityContext": context}}


def test_the_patch_of_a_bare_pod_has_each_container_once() -> None:
    pod = template({}, None)
    fix = merged_fix(pod, violations(pod, RESTRICTED, NEWEST))
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert fix is not None
    assert fix["spec"]["containers"] == [{"name": name, "securityContext": own} for name in "ab"]


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "hostIPC"])
def test_only_a_person_knows_whether_a_pod_does_without_a_namespace_of_the_host(field: str) -> None:
    pod = template(STRICT, **{field: True})
    (found,) = violations(pod, BASELINE, NEWEST)
    assert (found.field, found.found, found.expected, found.asks) == (f"spec.{field}", "true", "false", True)
    assert merged_fix(pod, (found,)) == {"spec": {field: None}}


def test_a_patch_keeps_allowed_capabilities_and_replaces_a_directory_of_the_host() -> None:
    pod = template({**STRICT, "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "SYS_TIME", "KILL", "BPF"]}})
    pod["spec"]["volumes"] = [{"name": "data", "hostPath": {"path": "/srv"}}, {"name": "cache", "emptyDir": {}}]
    assert merged_fix(pod, violations(pod, BASELINE, 21)) == {
        "spec": {
            "containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["CHOWN", "KILL"]}}}],
            "volumes": [{"name": "data", "hostPath": None, "emptyDir": {}}],
        }
    }


def test_a_patch_removes_annotations_and_hosts_of_probes() -> None:
    pod = template({}, None)
    pod["metadata"] = {"annotations": {"container.apparmor.security.beta.kubernetes.io/a": "unconfined"}}
    pod["spec"]["containers"][1]["livenessProbe"] = {"httpGet": {"host": "127.0.0.1", "port": 80}}
    assert merged_fix(pod, violations(pod, BASELINE, NEWEST)) == {
        "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/a": None}},
        "spec": {"containers": [{"name": "b", "livenessProbe": {"httpGet": {"host": None}}}]},
    }


def test_a_patch_of_a_seccomp_profile_removes_the_annotation_that_must_agree_with_it() -> None:
    pod = template(STRICT, {key: STRICT[key] for key in STRICT if key != "seccompProfile"})
    key = "seccomp.security.alpha.kubernetes.io/pod"
    pod["metadata"] = {"annotations": {key: "unconfined", "other": "kept"}}
    fix = merged_fix(pod, violations(pod, RESTRICTED, NEWEST))
    assert fix is not None
    assert fix["metadata"] == {"annotations": {key: None}}


@pytest.mark.parametrize(
    ("minor", "has_gate", "admitted"), [(33, False, False), (34, True, True), (35, False, True), (35, True, True)]
)
def test_a_pod_in_a_user_namespace_may_be_root(minor: int, has_gate: bool, admitted: bool) -> None:
    """From 1.35 on; before that, if the API server has the feature gate UserNamespacesPodSecurityStandards."""
    pod = template({**STRICT, "runAsNonRoot": False, "runAsUser": 0}, hostUsers=False)
    assert (not violations(pod, RESTRICTED, minor, has_gate=has_gate)) == admitted


@pytest.mark.parametrize("has_gate", [False, True])
@pytest.mark.parametrize(("minor", "admitted"), [(24, False), (25, True)])
def test_a_windows_pod_needs_no_fields_of_linux_from_1_25_on(minor: int, has_gate: bool, admitted: bool) -> None:
    """The feature gate is about something else."""
    pod = template({"runAsNonRoot": True}, os={"name": "windows"})
    assert (not violations(pod, RESTRICTED, minor, has_gate=has_gate)) == admitted


@pytest.mark.parametrize("value", [None, 7, "text", [], {"containers": [3, {"name": {}}], "volumes": {"a": 1}}])
def test_invalid_objects_are_judged_without_an_error(value: object) -> None:
    pod = {"metadata": value, "spec": value}
    merged_fix(pod, violations(pod, RESTRICTED, NEWEST))
    violations(template({**STRICT, "capabilities": {"drop": [{}], "add": [[]]}, "procMount": {}}), RESTRICTED, NEWEST)
