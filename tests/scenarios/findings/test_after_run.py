"""Findings about the result of a run, and who can change K3s' configuration."""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import SITE, Case, Seen, both, chmod, written
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, DROPINS, PSA, SETTINGS, STATE

CASES = (
    Case("k3s-config-writable", chmod(DROPINS, 0o777), chmod(DROPINS, 0o700),
         Seen(DROPINS, f"sudo chmod go-w {DROPINS}", expected="only root can write it",
             found=f"{DROPINS} (0777: others can write it)")),
    Case("k3s-config-writable", both(written(SITE, "node-name: a\n"), chmod(SITE, 0o666)),
         both(written(SITE, "node-name: a\n"), chmod(SITE, 0o666), chmod(DROPINS, 0o700)),
         Seen(SITE, f"sudo chmod go-w {SITE}", expected="only root can write it",
             found=f"{SITE} (0666: others can write it)"), name="file"),
)  # fmt: skip


def test_the_gate_starts_k3s_with_a_configuration_that_others_can_change(hardened: Hardened) -> None:
    """One finding names the directory, not each file in it. A waiver for the control of assess accepts it."""
    host = hardened()
    host.write(SITE, "node-name: a\n", 0o600)
    host[DROPINS].chmod(0o775)
    seen = host.seen("gate")
    assert (seen.code, seen.only("k3s-config-writable").location) == (0, DROPINS)
    host.write(SETTINGS, "waivers: [{control: k3s-config-drop-ins-access, reason: of the image}]\n")
    assert host.seen("check").of("k3s-config-writable") == ()


def test_others_who_can_replace_the_configuration_behind_a_symlink_are_found(hardened: Hardened) -> None:
    """The modes of the file and of its own directory are right; the directory of the symlink's target decides."""
    host = hardened()
    host.write("/srv/k3s/site.yaml", "node-name: a\n", 0o600)
    host["/srv/k3s"].chmod(0o777)
    host[SITE].symlink_to("/srv/k3s/site.yaml")
    assert host.seen("check").only("k3s-config-writable").location == "/srv/k3s"


def test_a_configuration_that_others_can_only_read_is_left_to_assess(hardened: Hardened) -> None:
    """Whether it has a secret is another question than who controls K3s."""
    host = hardened()
    host.write(CONFIG, "token: secret\n", 0o644)
    assert host.seen("check").of("k3s-config-writable") == ()


@pytest.mark.parametrize("version", ["1.24", "1.34"])
def test_a_revert_on_a_server_reports_remaining_objects(version: str, hardened: Hardened) -> None:
    """K3s does not delete them with their manifest. The command has the settings, which can list namespaces."""
    host = hardened("server", version)
    host[f"{DATA_DIR}/server/tls"].mkdir()
    host.write("/etc/k3s-harden/config.yaml", "network-policies: {namespaces: [apps]}\n")
    host.seen("apply")
    seen = host.seen("revert")
    assert seen.code == 0
    assert seen.only("objects-remain").repair == (
        "k3s-harden render policy --k3s-version $(k3s --version | awk 'NR == 1 {print $3}')"
        " --config /etc/k3s-harden/config.yaml | sudo k3s kubectl delete --ignore-not-found -f -"
    )


def test_a_revert_before_k3s_has_started_advises_no_kubectl(hardened: Hardened) -> None:
    """K3s creates server/tls at its first start; before that, the cluster has no objects."""
    assert hardened().seen("revert").findings == ()


def test_a_revert_of_an_edited_file_advises_to_force_it_first(hardened: Hardened) -> None:
    """The objects of policy.yaml are deleted after the last file that K3s could apply is gone."""
    host = hardened()
    host[f"{DATA_DIR}/server/tls"].mkdir()
    host.edit(PSA)
    steps = [line for line in host.run("revert").stdout.splitlines() if line.startswith("next ")]
    assert ["revert --force" in steps[0], "kubectl delete" in steps[1]] == [True, True]


def test_a_revert_without_the_journal_reports_the_remaining_hardening(hardened: Hardened) -> None:
    """Otherwise the result reads as if the host had never been hardened."""
    host = hardened()
    for record in host[f"{STATE}/journal"].iterdir():
        record.unlink()
    seen = host.seen("revert")
    assert (seen.code, seen.items) == (0, {})
    found = seen.only("hardening-not-recorded")
    assert (found.level, found.location) == ("warning", DROPIN)
    host[DROPIN].unlink()
    assert host.seen("revert").of("hardening-not-recorded") == ()


def test_a_revert_on_an_agent_reports_no_objects(hardened: Hardened) -> None:
    """Only servers apply manifests."""
    assert hardened("agent").seen("revert").findings == ()


def test_a_revert_reports_the_installed_gate(hardened: Hardened) -> None:
    """The gate hardens the host again at the next start of K3s."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden@.service", "[Service]\n")
    finding = host.seen("revert").only("gate-remains")
    assert finding.location == "/etc/systemd/system/k3s-harden@.service"
    assert finding.repair == "k3s-harden uninstall"
