"""revert on a server where K3s runs: K3s removes the objects of policy.yaml before the file is removed."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from agent.base.host.probe import K3sProcess
from agent.base.model import Role
from agent.cli.verbs import converge
from agent.cli.verbs.revert import revert
from agent.cluster.kubernetes.queries import Query
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from tests.fake import fake_host, in_memory
from tests.unit.cluster.api_server import ApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agent.base.report import Report
    from tests.unit.cluster.api_server import Handler

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
POLICY = "var/lib/rancher/k3s/server/manifests/policy.yaml"
ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/policy"
RUNNING = K3sProcess(1, Role.SERVER, 0.0)


@pytest.fixture
def root() -> Iterator[Path]:
    """A hardened server with an earlier start of K3s."""
    with in_memory() as directory:
        (directory / "etc").mkdir()
        (directory / "var/lib/rancher/k3s/server/tls").mkdir(parents=True)
        converge.apply(fake_host(directory), REQUEST)
        yield directory


def reverted(root: Path, *, follows: bool = True, changed: Sequence[str] = ()) -> tuple[Report, list[bytes]]:
    """Revert, and return what the deploy controller saw; without `follows` it does not apply the manifest."""
    seen: list[bytes] = []
    annotated = {"annotations": {"k3s-harden.internal/automount-before": "unset"}}
    marks = {"default": {}, **dict.fromkeys(changed, annotated)}
    accounts = {Query.SERVICE_ACCOUNTS: [{"metadata": {"namespace": name, **mark}} for name, mark in marks.items()]}

    def answer(handler: Handler) -> None:
        content = (root / POLICY).read_bytes()
        seen.append(content)
        checksum = sha256(content).hexdigest() if follows else "another"
        handler.send(200, json.dumps({"spec": {"checksum": checksum}}).encode())

    with ApiServer(accounts, {ADDON: answer}).running() as api:
        config = root / "var/lib/rancher/k3s/server/cred/admin.kubeconfig"
        config.parent.mkdir(exist_ok=True)
        config.write_text(api.kubeconfig(embedded=True))
        config.chmod(0o600)
        return revert(fake_host(root, processes=(RUNNING,), is_live=True), last=False, force=False), seen


def found(report: Report, name: str) -> str:
    """Return what a finding names; empty without it."""
    return next((finding.found for finding in report.findings if finding.id == name), "")


def test_k3s_applies_a_manifest_of_comments_before_it_is_removed(root: Path) -> None:
    report, seen = reverted(root)
    assert [all(line.startswith(b"#") for line in content.splitlines()) for content in seen] == [True]
    assert not (root / POLICY).exists()
    assert "objects-remain" not in {finding.id for finding in report.findings}


def test_objects_that_k3s_does_not_remove_within_a_minute_are_reported(root: Path) -> None:
    report, seen = reverted(root, follows=False)
    assert len(seen) > 5
    assert not (root / POLICY).exists()
    names = found(report, "objects-remain").split(", ")
    assert {"NetworkPolicy default/intra-namespace", "NetworkPolicy kube-system/intra-namespace"} < set(names)


def test_a_revert_that_was_killed_while_it_waited_is_completed(root: Path) -> None:
    header = b"".join(line for line in (root / POLICY).read_bytes().splitlines(keepends=True) if line.startswith(b"#"))
    (root / POLICY).write_bytes(header)
    report, _ = reverted(root)
    assert (int(report.exit_code), (root / POLICY).exists()) == (0, False)


def test_without_an_answer_of_the_api_server_the_objects_are_reported_at_once(root: Path) -> None:
    report = revert(fake_host(root, processes=(RUNNING,), is_live=True), last=False, force=False)
    assert not (root / POLICY).exists()
    assert "NetworkPolicy default/intra-namespace" in found(report, "objects-remain")
    assert found(report, "accounts-remain") == "not known: the API server does not answer"


def test_accounts_that_stay_changed_are_named(root: Path) -> None:
    """They are objects of the cluster: another server can still be hardened."""
    report, _ = reverted(root, changed=("shop", "web"))
    assert found(report, "accounts-remain") == "shop/default, web/default"


def test_without_a_changed_account_nothing_is_said_about_accounts(root: Path) -> None:
    report, _ = reverted(root)
    assert "accounts-remain" not in {finding.id for finding in report.findings}
