"""Runs of an ordinary user: they check readable files, report the others as not readable, and change nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.machine import NOBODY, PROGRAM, SERVER, START, Machine

pytestmark = pytest.mark.root

DATA = "/var/lib/rancher/k3s"
IMAGE = "/tmp/image"  # noqa: S108 - on a machine that only the test uses
PLACES = ("/etc/sysctl.d", "/etc/rancher", "/var/lib/rancher", "/var/lib/k3s-harden", "/run")


@pytest.fixture
def host(machine: Machine) -> Machine:
    machine.let_anybody_run_python()
    probe = "import sys; print(sys.prefix); import agent, json"
    seen = machine.run(sys.executable, "-c", probe, user=NOBODY)
    if seen.stdout.strip() != sys.prefix:
        pytest.skip(f"the user nobody cannot run {sys.executable} here: {seen.stderr[-200:]}")
    return machine


def as_nobody(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    run = machine.harden(*words, user=NOBODY)
    assert "Traceback" not in run.stderr
    return run


def split(text: str) -> tuple[list[str], list[str]]:
    """Return the next steps of a report, and its other lines."""
    lines = text.splitlines()
    steps = [line for line in lines if line.startswith("next ")]
    return steps, [line for line in lines if line not in steps]


def test_check_reads_a_new_host(host: Machine) -> None:
    """Before hardening, check reports the same to an ordinary user as to root; only root's commands have no sudo."""
    run = as_nobody(host, "check", *SERVER)
    assert run.returncode == 3
    steps, others = split(run.stdout)
    of_root, same = split(host.harden("check", *SERVER).stdout)
    assert (same, len(of_root)) == ([line.replace("fix: sudo ", "fix: ") for line in others], len(steps))
    assert [step for step in steps if ": sudo k3s-harden apply --role server --k3s-version " in step]


def test_check_reports_unreadable_files(host: Machine) -> None:
    """On a hardened host the next step is to run as root. All readable files are checked."""
    host.harden("apply", *SERVER)
    run = as_nobody(host, "check", "--format", "json", *SERVER)
    assert run.returncode == 3
    report = json.loads(run.stdout)
    items = {item["id"]: item for item in report["items"]}
    for path in ("audit.yaml", "psa.yaml", "manifests", "logs", "manifests/policy.yaml"):
        item = items[f"{DATA}/server/{path}"]
        assert "Permission denied" in item["detail"]
        assert item["repair"]["steps"] == []
    for name in ("/etc/sysctl.d/90-kubelet.conf", f"{DATA}/server", *START):
        assert items[name]["status"] == "compliant", name
    assert report["next_steps"][0]["verb"] == "check"
    unread = [finding["message"] for finding in report["findings"] if finding["id"] == "not-readable"]
    assert any("/var/lib/k3s-harden/journal" in message for message in unread)
    assert any("90-k3s-harden.yaml" in message for message in unread)


@pytest.mark.parametrize("verb", ["check", "diff", "assess"])
def test_a_run_that_needs_the_journal_is_repeated_with_sudo(host: Machine, verb: str) -> None:
    """K3s' version comes from the journal if K3s is not installed."""
    host.harden("apply", *SERVER)
    run = as_nobody(host, verb, "--role", "server")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "k3s-harden: cannot list /var/lib/k3s-harden/journal: Permission denied\n"
        f"  fix: sudo k3s-harden {verb} --role server\n"
    )


def test_diff_shows_readable_resources(host: Machine) -> None:
    host.harden("apply", *SERVER)
    host.set_kernel({"kernel.panic": "0"})
    run = as_nobody(host, "diff", *SERVER)
    assert run.returncode == 3
    assert "kernel.panic: 0 → 10" in run.stdout
    assert f"{DATA}/server/audit.yaml: cannot be read: Permission denied" in run.stdout


@pytest.mark.parametrize("what", ["sysctl", "audit-policy", "policy", "psa", "k3s-config"])
def test_render_needs_no_root(host: Machine, what: str) -> None:
    words = ("render", what, *SERVER)
    run = as_nobody(host, *words)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == host.harden(*words).stdout


@pytest.mark.parametrize("hardened", [False, True], ids=["new", "hardened"])
@pytest.mark.parametrize("words", [("apply", *SERVER), ("revert",), ("revert", "--last", "--force")], ids="-".join)
def test_writing_verbs_require_root(host: Machine, words: tuple[str, ...], *, hardened: bool) -> None:
    if hardened:
        host.harden("apply", *SERVER)
    before, values = host.tree(*PLACES), host.kernel_values()
    run = as_nobody(host, *words)
    assert run.returncode == 1
    assert f"cannot {words[0]}: changing the host requires root" in run.stderr
    assert re.search(rf"fix: sudo k3s-harden {' '.join(words)}$", run.stderr, re.MULTILINE)
    assert (host.tree(*PLACES), host.kernel_values()) == (before, values)


def test_an_unreadable_settings_file_is_an_error(host: Machine) -> None:
    host.write("/etc/k3s-harden/config.yaml", "role: server\n", mode=0o600)
    run = as_nobody(host, "check", *SERVER)
    assert run.returncode in {1, 2}
    assert "/etc/k3s-harden/config.yaml" in run.stderr
    assert "Permission denied" in run.stderr


def test_an_ordinary_user_can_harden_their_own_tree(host: Machine) -> None:
    host.run(
        "mkdir", "-p", *(f"{IMAGE}/{path}" for path in ("etc/sysctl.d", "var/lib", "run")), user=NOBODY, check=True
    )
    assert as_nobody(host, "apply", "--root", IMAGE, *SERVER).returncode == 0
    assert as_nobody(host, "check", "--root", IMAGE, *SERVER).returncode == 0
    entry = host.entry(f"{IMAGE}{DATA}/server/audit.yaml")
    assert entry is not None
    assert (entry.owner[0], entry.mode) == (NOBODY, 0o600)
    assert host.kernel_values() == START
    host.run("sh", "-c", f"rm {IMAGE}/run/*; chown root {IMAGE}/run", check=True)
    refused = as_nobody(host, "apply", "--root", IMAGE, *SERVER, "--k3s-version", "1.24")
    assert (refused.returncode, "Permission denied" in refused.stderr) == (1, True), refused


def test_after_sudo_a_report_is_written_as_the_user_who_called_it(host: Machine) -> None:
    """So the user can read it. A symlink to what only root can write is not followed, and other users have no file."""
    host.run("mkdir", "-p", f"{IMAGE}/home", f"{IMAGE}/of-root", user=NOBODY, check=True)
    host.run("sh", "-c", f"chown root {IMAGE}/of-root; ln -s {IMAGE}/of-root {IMAGE}/home/link", check=True)
    by_sudo = ("env", f"SUDO_UID={NOBODY}", f"SUDO_GID={NOBODY}", *PROGRAM, "assess", *SERVER, "--output")
    report, linked = f"{IMAGE}/home/report.html", f"{IMAGE}/home/link/report.html"
    assert host.run(*by_sudo, report).returncode == 3
    entry = host.entry(report)
    assert entry is not None
    assert (entry.owner[0], entry.mode) == (NOBODY, 0o600)
    refused = host.run(*by_sudo, linked)
    assert (refused.returncode, "Permission denied" in refused.stderr, host.entry(linked)) == (1, True, None)
    as_root = host.run(*PROGRAM, "assess", *SERVER, "--output", f"{IMAGE}/home/another.html")
    assert (as_root.returncode, f"user {NOBODY} owns it" in as_root.stderr) == (1, True)
