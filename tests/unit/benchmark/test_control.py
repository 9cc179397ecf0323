"""Texts that are derived from a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.benchmark import control
from agent.benchmark.catalogue import CATALOGUE
from agent.benchmark.control import BenchmarkControl
from agent.checks.manual import Manual


@pytest.mark.parametrize(
    ("title", "recommendation"),
    [
        ("The API server asks RBAC", "Ensure that the API server asks RBAC"),
        ("A pod can have only so many processes", "Ensure that a pod can have only so many processes"),
        ("DenyServiceExternalIPs is on", "Ensure that DenyServiceExternalIPs is on"),
        ("RBAC is on", "Ensure that RBAC is on"),
        ("K3s is root's", "Ensure that K3s is root's"),
        ("NetworkPolicies are enforced", "Ensure that NetworkPolicies are enforced"),
        ("Windows containers are not admitted", "Ensure that Windows containers are not admitted"),
        ("etcd has its own authority", "Ensure that etcd has its own authority"),
        ("kube-proxy is shy", "Ensure that kube-proxy is shy"),
        ("Pods have a profile", "Ensure that pods have a profile"),
    ],
)
def test_a_recommendation_is_the_title_as_an_instruction(title: str, recommendation: str) -> None:
    """The first word becomes lower case unless it is a name."""
    row = BenchmarkControl(id="x", title=title, check=Manual("Look."), why="It matters.", source="upstream.go")
    assert row.recommendation == recommendation


@pytest.mark.parametrize(
    ("name", "recommendation"),
    [
        ("apiserver-anonymous-auth", "Ensure that the API server rejects anonymous requests (--anonymous-auth)"),
        (
            "apiserver-serving-certificate",
            ("Ensure that the API server has a serving certificate and key (--tls-cert-file, --tls-private-key-file)"),
        ),
        ("kernel.panic_on_oops", "Ensure that a kernel oops causes a panic (kernel.panic_on_oops)"),
        (
            "etcd-auto-tls",
            "Ensure that etcd does not use a self-signed certificate for clients (client-transport-security.auto-tls)",
        ),
        ("admin-kubeconfig-permissions", "Ensure that the administrator's kubeconfig has restrictive permissions"),
    ],
)
def test_the_object_of_a_check_follows_the_recommendation(name: str, recommendation: str) -> None:
    """The titles of CIS also contain the object, such as an argument."""
    (row,) = (row for row in CATALOGUE if row.id == name)
    assert row.recommendation == recommendation


def test_each_row_of_the_table_is_that_of_a_control() -> None:
    """A row that is left over would make a waiver for it valid."""
    text = Path(control.__file__).with_name("controls.tsv").read_text(encoding="utf-8")
    names = [line.partition("\t")[0] for line in text.splitlines()[1:]]
    assert len(names) == len(set(names))
    assert set(names) <= {row.id for row in CATALOGUE}


def test_no_title_is_an_instruction() -> None:
    """The recommendation adds "Ensure that" to the title."""
    assert [row.id for row in CATALOGUE if row.title.lower().startswith(("ensure", "make sure", "verify"))] == []
    assert [row.id for row in CATALOGUE if row.title.endswith(".") or " " not in row.title] == []
