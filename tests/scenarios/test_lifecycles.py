"""Hosts that change: upgrades, another role, another data directory, Rancher."""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import AUDIT, DATA_DIR, DROPIN, DROPINS, KERNEL_FILE, POLICY, PSA, SETTINGS, HostTree
from tests.tree import Entry


def at(host: HostTree, role: str, version: str) -> HostTree:
    host.options = ("--role", role, "--k3s-version", version)
    return host


def test_an_upgraded_host_equals_a_new_host(hardened: Hardened) -> None:
    """Only the journal differs."""
    host = hardened("server", "1.24")
    for version in ("1.25", "1.27", "1.29", "1.34"):
        assert at(host, "server", version).run("apply").code == 0
    upgraded = host.entries()
    assert host.run("revert").code == 0
    assert host.run("apply").code == 0
    assert host.entries() == upgraded


STAGES = (
    "pod-security: warn, network-policies: off, service-accounts: off",
    "pod-security: baseline, network-policies: off, service-accounts: off",
    "network-policies: off, service-accounts: off",
    "service-accounts: off",
)
"""The stages of docs/howto/running-cluster.md, one after the other; then there is none."""


def test_the_bytes_after_each_way_back_of_a_stage_are_those_before(host: HostTree) -> None:
    settings = [*(f"stages: {{until: 2099-03-31, {stage}}}\n" for stage in STAGES), ""]

    def applied(text: str) -> dict[str, Entry]:
        host.write(SETTINGS, text)
        assert host.run("apply").code == 0
        return {path: entry for path, entry in host.entries().items() if path != SETTINGS}

    seen = [applied(text) for text in settings]
    assert all(one != other for one, other in zip(seen[:3], seen[1:4]))
    for text, before in zip(settings[::-1], seen[::-1]):
        assert applied(text) == before, text


def test_a_downgrade_restores_pod_security_policies_and_reports_psa_yaml(hardened: Hardened) -> None:
    """K3s 1.24 does not read psa.yaml; it is reported, and the remediation removes it."""
    host = at(hardened("server", "1.25"), "server", "1.24")
    assert host.seen("apply").code == 0
    assert "kind: PodSecurityPolicy" in host[POLICY].read_text()
    assert "admission-control-config-file" not in host[DROPIN].read_text()
    seen = host.seen("check")
    assert (seen.code, seen.ids) == (0, {"left-over"})
    assert seen.only("left-over").location == PSA
    assert seen.only("left-over").repair.startswith("Is this host meant to run K3s v1.24.0 as server? Yes (")
    host[PSA].unlink()
    assert host.seen("check").findings == ()


def test_a_server_that_becomes_an_agent_loses_server_arguments(hardened: Hardened) -> None:
    """The drop-in has only agent arguments, so k3s-agent starts; the files of the server are reported."""
    host = hardened()
    host.write(f"{DATA_DIR}/server/db/state.db", "data", 0o600)
    at(host, "agent", "1.34")
    assert host.seen("check").ids >= {"server-key-on-agent"}
    seen = host.seen("apply")
    assert seen.code == 0
    assert seen.with_status("changed") == {DROPIN}
    assert {finding.location for finding in seen.of("left-over")} == {PSA, POLICY, AUDIT}
    assert host[f"{DATA_DIR}/server/db/state.db"].read_text() == "data"
    text = host[DROPIN].read_text()
    assert "kubelet-arg+" in text
    for key in ("kube-apiserver-arg", "kube-controller-manager-arg", "secrets-encryption"):
        assert key not in text


@pytest.mark.parametrize(
    ("where", "content"),
    [(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n'), ("/etc/rancher/agent/config.yaml", "workDirectory: /a\n")],
)
def test_k3s_of_a_node_managed_by_rancher_is_not_configured(where: str, content: str, hardened: Hardened) -> None:
    host = hardened()
    host.write(where, content)
    seen = host.seen("check")
    assert seen.facts["managed by Rancher"] == ("yes", where)
    assert "render rancher-cluster" in seen.only("rancher-managed").repair
    assert {finding.location for finding in seen.of("left-over")} == {DROPIN, PSA}
    host[DROPIN].unlink()
    host[PSA].unlink()
    seen = host.seen("apply")
    assert (seen.code, seen.ids) == (0, {"rancher-managed"})
    assert DROPIN not in host.entries()
    assert PSA not in host.entries()
    assert {AUDIT, POLICY, KERNEL_FILE} <= host.entries().keys()


def test_apply_is_not_advised_for_a_drop_in_that_it_does_not_write(hardened: Hardened) -> None:
    """On a node that Rancher manages, an edited drop-in is neither compared nor written: the operator corrects it."""
    host = hardened()
    host.write(SETTINGS, "rancher-managed: true\n")
    host.write(DROPIN, "kube-apiserver-arg: enable-admission-plugins=PodSecurityPolicy\n", 0o600)
    found = host.seen("check").only("admission-plugins-refused")
    assert found.location == f"{DROPIN}:1"
    assert found.repair.startswith("remove `kube-apiserver-arg: enable-admission-plugins=PodSecurityPolicy` at ")


def test_the_settings_override_the_detection_of_rancher(host: HostTree) -> None:
    host.write(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n')
    host.write(SETTINGS, "rancher-managed: false\n")
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert DROPIN in host.entries()
    host.write(SETTINGS, "rancher-managed: true\n")
    assert host.seen("check").ids >= {"rancher-managed", "left-over"}


def test_files_restored_from_an_image_are_replaced(hardened: Hardened) -> None:
    """Image-based systems restore old managed files at a reboot; replacing them needs no --force."""
    host = hardened("server", "1.24")
    image = {path: host[path].read_bytes() for path in (DROPIN, KERNEL_FILE)}
    assert at(host, "server", "1.34").run("apply").code == 0
    expected = host.entries()
    for path, content in image.items():
        host[path].write_bytes(content)
    assert host.seen("apply").code == 0
    assert host.entries() == expected


def test_revert_removes_the_record_of_connections_and_revert_last_keeps_it(hardened: Hardened) -> None:
    host = hardened("server", "1.34")
    record = host.write("/var/lib/k3s-harden/connections.json", "{}", 0o600)
    assert host.run("revert", "--last", "--force").code == 0
    assert record.exists()
    host.run("apply", "--role", "server", "--k3s-version", "1.34")
    assert host.run("revert").code == 0
    assert not record.exists()
    assert not record.with_name("connections.lock").exists()
