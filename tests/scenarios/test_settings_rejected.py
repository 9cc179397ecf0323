"""Invalid settings: the error contains file, line, key and allowed values, and nothing changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.host_tree import DROPIN, PSA, SETTINGS, HostTree

if TYPE_CHECKING:
    from pathlib import Path

ANCHORS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
POLICY_FILE = "/etc/k3s-harden/audit-policy.yaml"

BAD: dict[str, tuple[str | bytes, str, tuple[str, ...]]] = {
    "unknown-key": ("role: server\nrol: agent\n", ":2", ("`rol`", "did you mean `role`")),
    "repeated-key": ("role: server\n\nrole: agent\n", ":3", ("`role`", "line 1")),
    "wrong-type": ("audit: {max-age: sixty}\n", ":1", ("`audit.max-age`", "1 to 3650", "'sixty'")),
    "placeholder": ("pod-security:\n  exempt-namespaces: ['<NAMESPACE>']\n", ":2", ("placeholder <NAMESPACE>",)),
    "waiver-for-an-unknown-control": (
        "waivers:\n  - {control: vm.overcomit_memory, reason: the database needs it}\n",
        ":2",
        ("unknown control `vm.overcomit_memory`", "did you mean `vm.overcommit_memory`?"),
    ),
    "not-yaml": ("role: server\naudit: {\n", ":3", ("not YAML",)),
    "not-utf-8": (b"role: server\ndata-dir: /srv/\xff\n", ":2", ("UTF-8",)),
    "ten-megabytes": ("# " + "x" * 10_000_000 + "\n", "", ("reads at most",)),
    "anchors": (ANCHORS, "", ("more than 100000 values",)),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_settings_are_rejected_without_changes(name: str, host: HostTree) -> None:
    """Every verb exits with 2 and prints file, line, key, allowed values and a fix to standard error."""
    content, line, words = BAD[name]
    host.write(SETTINGS, content)
    before = host.stamps()
    done = host.run("apply")
    assert (done.code, done.stdout) == (2, "")
    assert f"{SETTINGS}{line}" in done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert "\n  fix: " in done.stderr
    assert len(done.stderr) < 4000
    assert host.stamps() == before
    assert host.run("check") == done


def test_one_run_reports_all_errors(host: HostTree) -> None:
    """The message has every line with an error."""
    host.write(SETTINGS, "rol: server\naudit:\n  max-age: 0\n  max-siz: 1\nrole: both\n")
    done = host.run("check")
    assert done.code == 2
    for word in ("line 1", "line 3", "line 4", "line 5", "`rol`", "`audit.max-age`", "`audit.max-siz`", "`role`"):
        assert word in done.stderr


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_settings_writable_by_others_are_rejected(mode: int, host: HostTree) -> None:
    """The settings control a program that runs as root."""
    host.write(SETTINGS, "role: server\n", mode)
    before = host.stamps()
    done = host.run("apply")
    assert done.code == 2
    assert SETTINGS in done.stderr
    assert f"mode 0{mode:o}" in done.stderr
    assert host.stamps() == before
    host[SETTINGS].chmod(0o600)
    assert host.run("apply").code == 0


def test_settings_in_a_directory_writable_by_others_are_rejected(host: HostTree) -> None:
    """Others could replace the file."""
    host.write(SETTINGS, "role: server\n")
    host["/etc/k3s-harden"].chmod(0o777)
    done = host.run("apply")
    assert done.code == 2
    assert "/etc/k3s-harden" in done.stderr


def test_the_target_of_a_link_must_be_writable_only_by_root(host: HostTree) -> None:
    """A link is allowed if its target is safe."""
    host.write("/srv/site.yaml", "role: agent\n")
    host[SETTINGS].parent.mkdir()
    host[SETTINGS].symlink_to("/srv/site.yaml")
    host.options = ("--k3s-version", "1.34")
    assert host.seen("check").facts["role"][0] == "agent"
    host["/srv/site.yaml"].chmod(0o666)
    assert host.run("check").code == 2


@pytest.mark.parametrize("kind", ["directory", "FIFO"])
def test_settings_that_are_not_a_regular_file_are_rejected(kind: str, host: HostTree) -> None:
    """The program does not open other file types, so it does not wait for a FIFO."""
    host[SETTINGS].parent.mkdir()
    if kind == "directory":
        host[SETTINGS].mkdir()
    else:
        os.mkfifo(host[SETTINGS])
    done = host.run("apply")
    assert done.code == 2
    assert f"cannot use {SETTINGS}: it is a {kind}, not a regular file\n  fix: " in done.stderr


@pytest.mark.parametrize("name", ["unknown-key", "not-yaml"])
def test_settings_given_by_option_have_the_same_rules(name: str, host: HostTree, tmp_path: Path) -> None:
    """`--config` only changes the path of the file."""
    content, line, _ = BAD[name]
    assert isinstance(content, str)
    site = tmp_path / "site.yaml"
    site.write_text(content)
    done = host.run("apply", "--config", str(site))
    assert done.code == 2
    assert f"{site}{line}" in done.stderr


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


def test_protect_kernel_defaults_is_required_before_1_25(host: HostTree) -> None:
    """The benchmarks of older versions contain the control; for newer versions it is optional."""
    host.write(SETTINGS, "protect-kernel-defaults: false\n")
    host.options = ("--role", "server", "--k3s-version", "1.24")
    done = host.run("apply")
    assert done.code == 2
    assert "protect-kernel-defaults" in done.stderr
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
