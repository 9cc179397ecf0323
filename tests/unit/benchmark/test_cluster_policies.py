"""Rows that need a manual review."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from agent.benchmark.cluster_policies import MANUAL
from agent.benchmark.versions import Benchmark
from agent.checks.manual import Manual
from agent.guide.controls import CONTROLS
from agent.model import BOTH_ROLES, SERVERS
from tests.unit.benchmark.recorded import numbers, recorded
from tests.unit.benchmark.texts import fix

if TYPE_CHECKING:
    from agent.benchmark.control import BenchmarkControl

each_row = pytest.mark.parametrize("row", MANUAL, ids=lambda row: row.id)


def test_the_manual_rows_are_the_recorded_controls_of_sections_3_and_5() -> None:
    """No control of the benchmarks' sources is missing, and the only additional one is about systemd."""
    theirs = {
        identifier
        for identifier, line in recorded().items()
        if any(number.startswith(("3.", "5.")) for number, _ in line.values())
    }
    assert {row.id for row in MANUAL} == theirs | {"kubelet-ip-address-deny"}
    assert len({row.id for row in MANUAL}) == len(MANUAL)


@each_row
def test_each_control_has_the_numbers_and_letters_of_the_sources(row: BenchmarkControl) -> None:
    """This includes the benchmarks without the control."""
    assert numbers(row) == recorded()[row.id]


def test_39_controls_are_in_the_benchmarks_of_kube_bench_and_three_are_newer() -> None:
    """The controls of k3s-cis-1.23 to k3s-cis-1.9 are counted together."""
    known = {benchmark for benchmark in Benchmark if benchmark.kube_bench_profile}
    later = {row.id for row in MANUAL if not row.numbers.keys() & known}
    assert later == {"kubelet-ip-address-deny", "rbac-kubelet-subresources", "pods-proc-mount"}
    assert len(MANUAL) - len(later) == 39


@each_row
def test_each_row_has_one_sentence_about_the_review(row: BenchmarkControl) -> None:
    """The sentence contains a command, a location or a question, without placeholders."""
    assert isinstance(row.check, Manual)
    assert not row.earlier
    look = row.check.review
    assert 40 <= len(look) <= 400
    assert re.match(r"(Compare|Find|Read|Run) ", look)
    for text in (look, row.why):
        assert text.endswith(".")
        assert not any(mark in text for mark in ("  ", "\n", "{", "}", "<"))
    assert fix(row) == ""
    assert not row.title.endswith(".")


def test_the_cluster_is_reviewed_on_a_server() -> None:
    """The kubectl of an agent has no permissions. Only settings of systemd are reviewed on each node."""
    assert {row.id for row in MANUAL if row.applies.roles == BOTH_ROLES} == {"kubelet-ip-address-deny"}
    assert {row.applies.roles for row in MANUAL} == {SERVERS, BOTH_ROLES}


def test_a_row_names_the_files_of_the_guide_for_its_control() -> None:
    """These are psa.yaml, policy.yaml, the default accounts, and the audit policy."""
    linked = {row.id: row.guide for row in MANUAL if row.guide}
    assert all(guide in CONTROLS for guide in linked.values())
    assert {identifier: guide.id for identifier, guide in linked.items() if guide.id != "pod-security-admission"} == {
        "audit-policy-coverage": "audit-policy",
        "default-service-accounts": "default-service-accounts",
        "namespaces-network-policies": "network-policies",
    }
    assert {identifier for identifier, guide in linked.items() if guide.id == "pod-security-admission"} == {
        "pod-policy-mechanism",
        *(row.id for row in MANUAL if row.id.startswith("pods-")),
    }
    files = {"pod-security-admission": "psa.yaml", "network-policies": "policy.yaml", "audit-policy": "audit.yaml"}
    for row in MANUAL:
        if row.guide:
            assert isinstance(row.check, Manual)
            assert files.get(row.guide.id, "k3s-harden service-accounts") in row.check.review, row.id


def test_levels_are_those_of_cis() -> None:
    """Level 2 is its profile for high security."""
    assert {row.id for row in MANUAL if row.level == 2} == {
        "audit-policy-coverage",
        "kubelet-ip-address-deny",
        "pods-root",
        "pods-assigned-capabilities",
        "namespaces-network-policies",
        "secrets-as-files",
        "external-secret-storage",
        "image-provenance",
        "pods-seccomp",
        "pods-security-context",
        "default-namespace",
    }
    assert {row.level for row in MANUAL} == {1, 2}
