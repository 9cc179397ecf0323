"""Verbs, options and exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import LockHeldError
from agent.base.host import Host
from agent.base.report import Report
from agent.base.value import replace
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.roles_and_versions import Version
from agent.reports.formats import REPORT_FORMATS, Format
from agent.verbs import check_and_apply as verbs
from agent.verbs import install
from agent.verbs.installation import installation_for
from agent.verbs.revert import revert
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import (
    AUDIT,
    CONFIG,
    DROPIN,
    KERNEL_FILE,
    LOCK,
    POLICY,
    PSA,
    STATE,
    HostTree,
    copied,
    parsed,
    run,
)
from tests.scenarios.loaded_program import CHECKOUT

COMPARING_VERBS = ("apply", "check", "diff")
"""Verbs that observe a host and compare it with the guide."""


# --- the exit codes ---


def test_1_is_for_an_error_with_nothing_changed(host: HostTree) -> None:
    """If the state directory cannot be created, no change is made, because it could not be undone."""
    host.write("/var/lib/k3s-harden", "a file in the way")
    before = host.entries(with_state=True)
    done = host.run("apply")
    assert done.code == 1
    assert done.stderr.startswith("k3s-harden: cannot ")
    assert host.entries() == {path: entry for path, entry in before.items() if path != STATE}


@pytest.mark.parametrize("verb", ["apply", "check", "diff", "assess", "preflight v1.20", "render k3s-config"])
def test_2_is_for_a_k3s_older_than_the_guide(verb: str, host: HostTree) -> None:
    root = () if "render" in verb else ("--root", str(host.root))
    done = run(*verb.split(), *root, *(() if "preflight" in verb else ("--role", "server", "--k3s-version", "v1.20")))
    assert done.code == 2
    assert "cannot use K3s v1.20.0: k3s-harden requires v1.23 or newer" in done.stderr


def test_the_gate_hardens_a_k3s_older_than_the_guide(host: HostTree) -> None:
    """A K3s that runs must not be blocked."""
    request = Request(Overrides(role="server", k3s_version="v1.20"), for_gate=True)
    assert observe_situation(Host.tree_at(str(host.root)), request).facts.version == Version(1, 20, 0)


def test_2_is_for_a_host_with_an_unknown_role(host: HostTree) -> None:
    """A wrong role could stop K3s, so the error names the option that sets it."""
    host.options = ("--k3s-version", "1.34")
    done = host.run("apply")
    assert done.code == 2
    assert "--role server or --role agent" in done.stderr
    host.unit("server", "--debug")
    host.unit("agent", "--debug")
    done = host.run("apply")
    assert done.code == 2
    assert "k3s-agent.service and k3s.service" in done.stderr
    assert STATE not in host.entries(with_state=True)


@pytest.fixture
def held_lock(host: HostTree) -> int:
    lock = host.write(LOCK, "4711\n", 0o600)
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_5_is_for_a_lock_that_another_run_holds(host: HostTree, held_lock: int) -> None:
    program = PurePosixPath("/opt/k3s-harden")
    host.write(str(program), "", 0o755)
    host.write("/usr/lib/systemd/systemd", "", 0o755)
    before = host.entries()
    impatient = replace(Host.tree_at(str(host.root)), lock_wait=0.1)
    request = Request(Overrides(role="server", k3s_version="1.34"))
    installation = installation_for(impatient, request, (), program)
    writes: tuple[Callable[[], Report], ...] = (
        lambda: verbs.apply(impatient, request),
        lambda: revert(impatient, last=False, force=False),
        lambda: install.install(impatient, installation),
        lambda: install.uninstall(impatient, installation),
    )
    for write in writes:
        with pytest.raises(LockHeldError, match="process 4711 holds it") as caught:
            write()
        assert caught.value.exit_code == 5
    assert host.run("check").code == 3
    assert host.entries() == before
    os.close(held_lock)
    assert host.run("apply").code == 0


# --- the options ---


def test_the_former_name_of_bypass_ends_with_the_new_one() -> None:
    """A machine without the gate has no service whose gate is bypassed."""
    for words in (("release", "--once"), ("release",), ("release", "--once", "--unit", "k3s.service")):
        done = run(*words)
        assert (done.code, "k3s-harden bypass" in done.stderr) == (2, True)
    done = run("bypass")
    assert (done.code, "cannot bypass" in done.stderr) == (2, True)


def test_six_faults_are_six_problems(hardened: Hardened) -> None:
    host = hardened()
    host.edit(AUDIT)
    host[PSA].write_bytes(b"")
    host[POLICY].chmod(0o644)
    host.write("/proc/sys/kernel/panic", "0\n")
    host.write("/etc/sysctl.d/99-site.conf", "vm.panic_on_oom = 1\n")
    host.write(CONFIG, "kube-apiserver-arg: [audit-log-maxage=x]\n")
    text = host.run("check").stdout
    assert "result 3: Host is not compliant (6 problems, 3 of them prevent K3s from starting, " in text
    lines = [line for line in text.splitlines() if line.startswith(("differs", "edited", "error"))]
    assert len(lines) == 6
    title, _, rest = host.run("diff").stdout.partition("\n")
    assert (title.split()[1], "k3s-harden diff" in rest) == ("diff:", False)


def test_check_of_a_tree_recommends_commands_for_that_tree(host: HostTree) -> None:
    """They repeat the options of the run, and need no sudo if the user owns the tree."""
    commands = [line.rpartition(": ")[2] for line in host.run("check").stdout.splitlines() if line.startswith("next ")]
    assert commands == [f"k3s-harden apply --root {host.root} --role server --k3s-version 1.34"]
    host.run("apply")
    report = json.loads(host.run("check", "--format", "json").stdout)
    assert [(step["kind"], step["text"], step["command"]) for step in report["next_steps"]] == [
        (
            "run",
            "on the host that boots from this tree, install K3s",
            "curl -sfL https://get.k3s.io | INSTALL_K3S_CHANNEL=v1.34 sh -",
        ),
        (
            "run-verb",
            "check covers the hardening guide, and assess the CIS benchmark",
            f"k3s-harden assess --root {host.root} --role server --k3s-version 1.34",
        ),
    ]


@pytest.mark.parametrize("verb", ["check", "apply"])
def test_a_missing_version_has_one_next_step(verb: str, hardened: Hardened) -> None:
    """Every other problem depends on the version. Each answer has a command that can be pasted."""
    host = hardened("server", "1.24")
    host.options = ("--role", "server")
    steps = [line for line in host.run(verb).stdout.splitlines() if line.startswith("next ")]
    assert len(steps) == 1
    commands = re.findall("`(.*?)`", steps[0])
    versions = [f"--k3s-version {version} --root {host.root} --role server" for version in ("v1.37", "v1.24")]
    assert commands == [f"k3s-harden {verb} {version}" for version in versions]


@pytest.mark.parametrize("verb", COMPARING_VERBS)
def test_role_version_and_data_directory_of_the_command_line_are_used(verb: str, host: HostTree) -> None:
    host.unit("agent", "--data-dir", "/srv/other")
    host.options = ("--role", "agent", "--k3s-version", "v1.26.15+k3s1", "--data-dir", "/srv/k3s")
    facts = host.seen(verb).facts
    assert facts["role"] == ("agent", "given")
    assert facts["K3s version"] == ("v1.26.15+k3s1", "given")
    assert facts["data directory"] == ("/srv/k3s", "given")


def test_the_settings_file_is_read_from_this_machine(host: HostTree, tmp_path: Path) -> None:
    """`--config` is a path of the machine that runs the program, not below --root."""
    site = tmp_path / "site.yaml"
    site.write_text("terminated-pod-gc-threshold: 42\n")
    for verb in ("check", "diff", "apply"):
        assert host.seen(verb, "--config", str(site)).code == (0 if verb == "apply" else 3)
    assert "terminated-pod-gc-threshold=42" in host[DROPIN].read_text()
    relative = os.path.relpath(site, CHECKOUT)
    assert host.run("check", "--config", relative).code == 0
    assert host.run("check").code == 3


def test_diff_with_force_shows_the_changes_of_apply_with_force(hardened: Hardened) -> None:
    host = hardened()
    host.edit(AUDIT)
    assert host.seen("diff").items == {AUDIT: "edited"}
    assert host.seen("diff", "--force").items == {AUDIT: "differs"}
    assert host.run("check", "--force").code == 2


@pytest.mark.parametrize("output_format", REPORT_FORMATS)
@pytest.mark.parametrize("verb", [*COMPARING_VERBS, "revert"])
def test_each_format_reports_the_same(verb: str, output_format: Format, hardened: Hardened) -> None:
    host = hardened()
    host.edit(KERNEL_FILE)
    done = host.run(verb, "--format", output_format.value)
    assert done.code == (4 if verb in {"apply", "revert"} else 3)
    assert KERNEL_FILE in done.stdout
    assert done.stderr == ""
    if output_format in {Format.PLAIN, Format.AUTO}:
        results = [line for line in done.stdout.splitlines() if line.startswith("result ")]
        assert [line.partition(":")[0] for line in results] == [f"result {done.code}"]
        assert done.stdout.splitlines()[-1].startswith("next ")
    elif output_format is Format.TABLE:
        assert "✘" in done.stdout
    else:
        assert parsed(done).items[KERNEL_FILE] == "edited"


# --- check, diff and apply agree ---


def test_diff_shows_what_would_change_line_by_line(hardened: Hardened) -> None:
    host = hardened()
    host[POLICY].chmod(0o644)
    host.write("/proc/sys/kernel/panic", "0\n")
    host[PSA].unlink()
    host.edit(AUDIT)
    text = host.run("diff").stdout
    assert f"differs {POLICY}: mode 0644 → 0600; error mode-loosened: " in text
    assert text.count("0644 → 0600") == text.count("0 → 10") == 1
    assert "differs kernel.panic: 0 → 10; error kernel-parameter: " in text
    assert f"--- {PSA} (found)\n+++ {PSA} (expected)\n@@ -0,0 " in text
    assert "\n-omitManagedFields: true\n" in text
    assert "compliant" not in text.replace("not compliant", "")


# --- the tree ---


def test_a_root_may_have_any_name_be_relative_or_a_symlink(host: HostTree, tmp_path: Path) -> None:
    odd = copied(host, tmp_path / "it's a “tree” – 名\n")
    link = tmp_path / "link"
    link.symlink_to(odd.root)
    relative = os.path.relpath(odd.root, CHECKOUT)
    assert run("apply", "--root", str(link), *host.options).code == 0
    assert run("check", "--root", relative, *host.options).code == 0


def test_a_tree_without_a_kernel_is_compliant_as_far_as_it_could_be_checked(hardened: Hardened) -> None:
    host = hardened()
    host["/proc/sys"].rename(host["/proc/other"])
    for verb in ("check", "apply"):
        printed = host.run(verb).stdout
        assert "its kernel was not checked" in printed
        assert "next boot" not in printed
        assert printed.count("booted host") == 1
    assert "K3s v1.35 would start as far as it could be checked" in host.run("preflight", "1.35").stdout


# --- service-accounts ---


def test_service_accounts_fails_without_a_cluster(tmp_path: Path) -> None:
    options = ("--kubeconfig", str(tmp_path / "none"), "--timeout", "1", "--wait", "0", "--format", "json", "-v")
    done = run("service-accounts", *options)
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("k3s-harden: cannot ")


def test_every_prediction_explains_itself(hardened: Hardened) -> None:
    host = hardened("server", "1.37")
    host.write("/etc/own.yaml", "kind: AuthenticationConfiguration\n")
    arguments = "[max-pods=x, foo=1, image-gc-high-threshold=80]"
    host.write(CONFIG, f"kubelet-arg: {arguments}\nkube-apiserver-arg: [authentication-config=/etc/own.yaml]\n")
    found = json.loads(host.run("check", "--format", "json").stdout)["findings"]
    predicted = [item["prediction"] for item in found if item["prevents_start"] and item["id"].startswith("component-")]
    assert len(predicted) == 4
    for item in predicted:
        assert item["rule"].startswith("agent/")
        assert item["source"]
        assert item["rule"] in host.run("check", "-v").stdout
