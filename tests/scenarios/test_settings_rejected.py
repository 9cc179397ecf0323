"""Invalid settings: the error contains file, line, key and allowed values, and nothing changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.host_tree import DROPIN, PSA, SETTINGS, HostTree

POLICY_FILE = "/etc/k3s-harden/audit-policy.yaml"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("role: server\nrol: agent\n", ":2", ("`rol`", "did you mean `role`")),
        ("role: server\naudit: {\n", ":3", ("not YAML",)),
        ("# " + "x" * 10_000_000 + "\n", "", ("reads at most",)),
    ],
    ids=["unknown-key", "not-yaml", "ten-megabytes"],
)
def test_invalid_settings_are_rejected_without_changes(
    content: str, line: str, words: tuple[str, ...], host: HostTree, tmp_path: Path
) -> None:
    host.write(SETTINGS, content)
    before = host.stamps()
    done = host.run("apply")
    assert (done.code, done.stdout) == (2, "")
    assert f"{SETTINGS}{line}" in done.stderr
    assert all(word in done.stderr for word in words)
    assert "Traceback" not in done.stderr
    assert "\n  fix: " in done.stderr
    assert len(done.stderr) < 4000
    assert host.stamps() == before
    assert host.run("check") == done
    site = tmp_path / "site.yaml"
    site.write_text(content)
    done = host.run("apply", "--config", str(site))
    assert (done.code, f"{site}{line}" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("path", "mode"),
    [(SETTINGS, 0o646), (SETTINGS, 0o666), ("/etc/k3s-harden", 0o777)],
    ids=["others", "all", "directory"],
)
def test_settings_writable_by_others_are_rejected(path: str, mode: int, host: HostTree) -> None:
    """The settings control a program that runs as root. In an open directory, others could replace the file."""
    host.write(SETTINGS, "role: server\n")
    host[path].chmod(mode)
    before = host.stamps()
    done = host.run("apply")
    assert done.code == 2
    assert path in done.stderr
    assert f"mode 0{mode:o}" in done.stderr
    assert host.stamps() == before
    host[path].chmod(0o700)
    assert host.run("apply").code == 0


def test_the_target_of_a_link_must_be_writable_only_by_root(host: HostTree) -> None:
    host.write("/srv/site.yaml", "role: agent\n")
    host[SETTINGS].parent.mkdir()
    host[SETTINGS].symlink_to("/srv/site.yaml")
    host.options = ("--k3s-version", "1.34")
    assert host.seen("check").facts["role"][0] == "agent"
    host["/srv/site.yaml"].chmod(0o666)
    assert host.run("check").code == 2


@pytest.mark.parametrize(("kind", "make"), [("directory", Path.mkdir), ("FIFO", os.mkfifo)], ids=["directory", "FIFO"])
def test_settings_that_are_not_a_regular_file_are_rejected(
    kind: str, make: Callable[[Path], object], host: HostTree
) -> None:
    """The program does not open other file types, so it does not wait for a FIFO."""
    host[SETTINGS].parent.mkdir()
    make(host[SETTINGS])
    done = host.run("apply")
    assert done.code == 2
    assert f"cannot use {SETTINGS}: it is a {kind}, not a regular file\n  fix: " in done.stderr


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        (None, "", "does not exist"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", ":1", "`rules`"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: <LEVEL>}]\n", ":3", "placeholder"),
        ("apiVersion: [\n", ":2", "not YAML"),
    ],
)
def test_an_audit_policy_that_prevents_the_start_of_k3s_is_rejected(
    content: str | None, line: str, word: str, host: HostTree
) -> None:
    """The API server rejects such a policy and exits, so apply does not write it."""
    host.write(SETTINGS, f"audit: {{policy-file: {POLICY_FILE}}}\n")
    if content is not None:
        host.write(POLICY_FILE, content)
    before = host.stamps()
    done = host.run("apply")
    assert done.code == 2
    assert f"{POLICY_FILE}{line}" in done.stderr
    assert word in done.stderr
    assert "\n  fix: " in done.stderr
    assert host.stamps() == before


def test_only_a_server_needs_the_kubeconfig_of_a_receiver(host: HostTree) -> None:
    """An agent has no API server, and should not have the credential."""
    host.write(SETTINGS, "audit: {webhook: /etc/k3s-harden/receiver.yaml}\n")
    before = host.stamps()
    done = host.run("apply")
    assert (done.code, "/etc/k3s-harden/receiver.yaml: the file does not exist" in done.stderr) == (2, True)
    assert host.stamps() == before
    host.options = ("--role", "agent", *host.options[2:])
    assert host.run("apply").code == 0
    assert "audit-webhook" not in host[DROPIN].read_text()


def test_protect_kernel_defaults_is_required_before_1_25(host: HostTree) -> None:
    """The benchmarks of older versions contain the control; for newer versions it is optional."""
    host.write(SETTINGS, "protect-kernel-defaults: false\n")
    host.options = ("--role", "server", "--k3s-version", "1.24")
    done = host.run("apply")
    assert (done.code, done.stderr.splitlines()[1:]) == (2, [f"  fix: remove `protect-kernel-defaults` in {SETTINGS}"])
    host.options = ("--role", "server", "--k3s-version", "1.25")
    assert host.run("apply").code == 0
    assert "protect-kernel-defaults" not in host[DROPIN].read_text()


@pytest.mark.parametrize("version", ["1.24", "1.25", "1.34"])
def test_event_rate_limit_always_has_its_configuration(version: str, host: HostTree) -> None:
    """The API server exits if the plugin has no configuration, which only K3s v1.25 and newer read."""
    host.options = ("--role", "server", "--k3s-version", version)
    host.write(SETTINGS, "event-rate-limit: {qps: 10, burst: 20}\n")
    done = host.run("apply")
    if done.code == 2:
        assert version == "1.24"
        assert "event-rate-limit" in done.stderr
        return
    assert done.code == 0
    plugin_is_on = "EventRateLimit" in host[DROPIN].read_text()
    configured = host[PSA].exists() and "EventRateLimit" in host[PSA].read_text()
    assert plugin_is_on == configured == (version != "1.24")


def test_role_and_version_of_the_settings_apply_to_a_host_without_k3s(host: HostTree) -> None:
    """An image for many hosts contains role and version in its settings."""
    host.options = ()
    host.write(SETTINGS, "role: server\nk3s-version: 1.30\n")
    facts = host.seen("apply").facts
    assert facts["role"] == ("server", "given")
    assert facts["K3s version"] == ("v1.30.0", "given")
