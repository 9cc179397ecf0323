"""One host over the years: K3s is upgraded, the server becomes an agent, the data moves, Rancher takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.host_tree import (
    AUDIT,
    CONFIG,
    DATA_DIR,
    DROPIN,
    DROPINS,
    KERNEL_FILE,
    MANIFESTS,
    POLICY,
    PSA,
    HostTree,
)

if TYPE_CHECKING:
    from tests.scenarios.conftest import Hardened


def at(host: HostTree, role: str, version: str) -> HostTree:
    host.options = ("--role", role, "--k3s-version", version)
    return host


def test_an_upgrade_from_1_24_to_1_25_takes_pod_security_policies_away(hardened: Hardened) -> None:
    """Before the new K3s starts they are gone from policy.yaml and the plugin from the drop-in; psa.yaml is there."""
    host = hardened("server", "1.24")
    assert "kind: PodSecurityPolicy" in host[POLICY].read_text()
    assert "PodSecurityPolicy" in host[DROPIN].read_text()
    at(host, "server", "1.25")
    seen = host.seen("check")
    assert seen.code == 3
    assert {"admission-plugins-refused", "stale-pod-security-policy"} <= seen.ids
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert seen.with_status("changed") == {POLICY, PSA, DROPIN}
    for path in (POLICY, DROPIN, PSA):
        assert "PodSecurityPolicy" not in host[path].read_text()
        assert "podsecuritypolicies" not in host[path].read_text()
    assert f"admission-control-config-file={PSA}" in host[DROPIN].read_text()
    assert host.seen("check").code == 0


def test_an_upgrade_is_the_same_as_a_fresh_host_of_the_new_version(hardened: Hardened) -> None:
    """Nothing of the way there is left but the journal."""
    host = hardened("server", "1.24")
    for version in ("1.25", "1.27", "1.29", "1.34"):
        assert at(host, "server", version).run("apply").code == 0
    upgraded = host.entries()
    assert host.run("revert").code == 0
    assert host.run("apply").code == 0
    assert host.entries() == upgraded


def test_a_downgrade_brings_pod_security_policies_back_and_names_what_is_left(hardened: Hardened) -> None:
    """psa.yaml, which 1.24 does not read, is named and not removed; its remedy takes it away."""
    host = at(hardened("server", "1.25"), "server", "1.24")
    assert host.seen("apply").code == 0
    assert "kind: PodSecurityPolicy" in host[POLICY].read_text()
    assert "admission-control-config-file" not in host[DROPIN].read_text()
    seen = host.seen("check")
    assert (seen.code, seen.ids) == (0, {"left-over"})
    assert seen.only("left-over").location == PSA
    assert seen.only("left-over").remediation.endswith(f"rm {PSA}")
    host[PSA].unlink()
    assert host.seen("check").findings == ()


def test_a_server_that_becomes_an_agent_keeps_its_data_and_loses_server_arguments(hardened: Hardened) -> None:
    """The drop-in has agent arguments alone, so that k3s-agent starts; what is left of the server is named."""
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


def test_an_agent_that_becomes_a_server_is_a_server(hardened: Hardened) -> None:
    """It gets all that a fresh server has."""
    host = at(hardened("agent"), "server", "1.34")
    assert host.seen("check").code == 3
    assert host.seen("apply").code == 0
    assert host.seen("check").findings == ()
    promoted = host.entries()
    assert host.run("revert").code == 0
    assert host.run("apply").code == 0
    assert host.entries() == promoted


def test_a_moved_data_directory_takes_all_of_it_along(hardened: Hardened) -> None:
    """Files, directories and the paths in the arguments follow `data-dir` of K3s' own configuration."""
    host = hardened()
    host.write(CONFIG, "data-dir: /srv/k3s\n")
    seen = host.seen("apply")
    assert seen.code == 0
    text = host[DROPIN].read_text()
    assert "/srv/k3s/server/audit.yaml" in text
    assert DATA_DIR not in text
    for path in (AUDIT, POLICY, PSA):
        assert host[path.replace(DATA_DIR, "/srv/k3s")].read_bytes() == host[path].read_bytes()
    assert host.entries()["/srv/k3s/server"].mode == 0o700
    assert host.seen("check").code == 0


@pytest.mark.parametrize(
    ("where", "content"),
    [(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n'), ("/etc/rancher/agent/config.yaml", "workDirectory: /a\n")],
)
def test_a_node_that_rancher_takes_over_is_left_to_it(where: str, content: str, hardened: Hardened) -> None:
    """Our arguments and psa.yaml are named as left over, and once they are gone nothing of K3s' is written again."""
    host = hardened()
    host.write(where, content)
    seen = host.seen("check")
    assert seen.facts["managed by Rancher"] == ("yes", where)
    assert "render rancher-cluster" in seen.only("rancher-managed").remediation
    assert {finding.location for finding in seen.of("left-over")} == {DROPIN, PSA}
    host[DROPIN].unlink()
    host[PSA].unlink()
    seen = host.seen("apply")
    assert (seen.code, seen.ids) == (0, {"rancher-managed"})
    assert DROPIN not in host.entries()
    assert PSA not in host.entries()
    assert {AUDIT, POLICY, KERNEL_FILE} <= host.entries().keys()


def test_the_settings_have_the_last_word_on_rancher(host: HostTree) -> None:
    """A file that only looks like Rancher's does not keep a host from being hardened, if the site says so."""
    host.write(f"{DROPINS}/50-rancher.yaml", '{"node-name": "a"}\n')
    host.write("/etc/k3s-harden/config.yaml", "rancher-managed: false\n")
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert DROPIN in host.entries()
    host.write("/etc/k3s-harden/config.yaml", "rancher-managed: true\n")
    assert host.seen("check").ids >= {"rancher-managed", "left-over"}


def test_an_etc_that_went_back_to_its_image_is_hardened_again(hardened: Hardened) -> None:
    """Image-based systems bring old files back at a reboot: they are ours, so no force is needed."""
    host = hardened("server", "1.24")
    image = {path: host[path].read_bytes() for path in (DROPIN, KERNEL_FILE)}
    assert at(host, "server", "1.34").run("apply").code == 0
    wanted = host.entries()
    for path, content in image.items():
        host[path].write_bytes(content)
    assert host.seen("apply").code == 0
    assert host.entries() == wanted


def test_servers_of_one_cluster_get_the_same_manifests(host: HostTree, hardened: Hardened) -> None:
    """K3s does not copy them between servers, and servers whose copies differ undo each other's."""
    first = hardened()
    host.write(CONFIG, "server: https://10.0.0.1:6443\nnode-name: b\ntls-san: [b.example]\n")
    assert host.run("apply").code == 0
    for path in (POLICY, PSA, AUDIT):
        assert host[path].read_bytes() == first[path].read_bytes()


def test_manifests_of_others_are_left_alone(hardened: Hardened) -> None:
    """K3s' own and an operator's stay as they are, whatever is wrong with them."""
    host = hardened("server", "1.24")
    for name, content in (("ccm.yaml", "kind: List\n"), ("own.yaml", "kind: PodSecurityPolicy\n"), ("bad.yaml", "\0")):
        host.write(f"{MANIFESTS}/{name}", content, 0o644)
    theirs = {
        path: entry for path, entry in host.entries().items() if path.startswith(f"{MANIFESTS}/") and path != POLICY
    }
    at(host, "server", "1.34").run("apply", "--force")
    assert {path: host.entries()[path] for path in theirs} == theirs
