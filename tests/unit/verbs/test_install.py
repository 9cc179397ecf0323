"""install and uninstall: calls of systemctl. The scenarios test the files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import UnsupportedHostError
from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.repair import Decide, RunVerb
from agent.base.value import replace
from agent.harden.gate.gate_state import OBSERVES
from agent.harden.gate.gate_units import PACKAGED_PROGRAM
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.verbs import install
from agent.verbs.installation import UNIT_DIRECTORY, UNITS, installation_for, installed_files
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

PROGRAM = PurePosixPath("/opt/k3s-harden")
SYSTEMCTL = "/usr/bin/systemctl"
REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
TIMERS = [unit for unit in UNITS if unit.endswith(".timer")]


def booted(root: Path, *programs: str, release: int = 257, is_live: bool = True, more: Sequence[str] = ()) -> Host:
    """Return a host with these programs and this release of systemd, which also answers `more`."""
    for path in ("opt/k3s-harden", "usr/bin/systemctl", *programs):
        put(root, path, "", 0o755)
    loaded = put(root, "run/systemd/systemd-units-load")
    (root / "run/systemd/system").mkdir()
    os.utime(loaded, (2**32, 2**32))
    version = f"systemd {release} ({release}-78.el8)\n+PAM -SYSVINIT\n"
    answers = {"--version": version, "daemon-reload": "", **dict.fromkeys(more, "")}
    calls = {(SYSTEMCTL, *call.split()): Completed(0, output, "") for call, output in answers.items()}
    return fake_host(root, programs=Programs(calls), is_live=is_live)


@pytest.mark.root
@pytest.mark.parametrize("packaged", [False, True])
def test_uninstall_stops_the_timers_that_it_removes(tmp_path: Path, *, packaged: bool) -> None:
    """A running timer continues without its file. Timers of a package are not stopped."""
    stops = [f"stop --no-block {timer}" for timer in TIMERS]
    host = booted(tmp_path, str(PACKAGED_PROGRAM)[1:], more=stops)
    programs = host.run
    assert isinstance(programs, Programs)
    installation = installation_for(host, REQUEST, ("k3s-east.service",), PROGRAM)
    if packaged:
        for unit_file in installed_files(installation):
            if unit_file.path.is_relative_to(UNIT_DIRECTORY):
                unit = tmp_path / "usr/lib/systemd/system" / unit_file.path.relative_to(UNIT_DIRECTORY)
                unit.parent.mkdir(parents=True, exist_ok=True)
                unit.write_bytes(unit_file.content)
        installation = installation_for(host, REQUEST, (), PACKAGED_PROGRAM)
    install.install(host, installation)
    programs.asked.clear()
    install.uninstall(host, installation)
    stopped = [call[-1] for call in programs.asked if call[1] == "stop"]
    assert stopped == ([] if packaged else TIMERS)


@pytest.mark.root
def test_install_on_a_cluster_that_was_never_hardened_needs_enforce(tmp_path: Path) -> None:
    """The gate would harden it at the next start of K3s. With the option, the gate observes no longer."""
    host = booted(tmp_path)
    (tmp_path / "var/lib/rancher/k3s/server/db").mkdir(parents=True)
    observes = put(tmp_path, str(OBSERVES)[1:], "2026-12-24\n", 0o600)
    installation = installation_for(host, REQUEST, (), PROGRAM)
    before = sorted(tmp_path.rglob("*"))
    report = install.install(host, installation)
    assert (int(report.exit_code), [finding.id for finding in report.findings]) == (3, ["gate-not-enforced"])
    assert [step.step for step in report.next_steps] == [
        RunVerb("impact"),
        RunVerb("apply"),
        RunVerb("install", ("--enforce",)),
    ]
    assert (sorted(tmp_path.rglob("*")), observes.exists()) == (before, True)
    install.install(host, installation, enforce=True)
    assert (len(sorted(tmp_path.rglob("*"))) > len(before), observes.exists()) == (True, False)


def test_a_service_that_cannot_be_followed_is_announced_with_its_setting(tmp_path: Path) -> None:
    """The gate will block it. With the setting, nothing is announced."""
    put(tmp_path, "etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/local/bin/start-k3s\n")
    reason, remedy = installation_for(fake_host(tmp_path), REQUEST, (), PROGRAM).blocked
    assert "k3s.service: it starts a program that is not followed" in str(reason.step)
    assert isinstance(remedy.step, Decide)
    assert "`k3s-config`" in remedy.step.answers[-1].consequence
    put(tmp_path, "etc/k3s-harden/config.yaml", "k3s-config: /srv/k3s.yaml\n")
    assert installation_for(fake_host(tmp_path), REQUEST, (), PROGRAM).blocked == ()


def test_install_fails_on_a_machine_without_running_systemd(tmp_path: Path) -> None:
    """The machine uses OpenRC or is a container, and systemd may be installed. No file is written."""
    for path in ("opt/k3s-harden", "usr/bin/systemctl", "usr/lib/systemd/systemd", "sbin/openrc-run"):
        put(tmp_path, path, "", 0o755)
    host = replace(fake_host(tmp_path), is_live=True)
    before = sorted(tmp_path.rglob("*"))
    installation = installation_for(host, REQUEST, (), PROGRAM)
    with pytest.raises(UnsupportedHostError, match="neither systemd nor OpenRC runs") as refused:
        install.install(host, installation)
    assert refused.value.exit_code == 6
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.root
@pytest.mark.parametrize(("release", "is_refused"), [(239, True), (242, True), (243, False), (258, False)])
@pytest.mark.parametrize("is_live", [True, False], ids=["host", "tree"])
def test_install_refuses_a_systemd_that_is_too_old(
    tmp_path: Path, release: int, *, is_refused: bool, is_live: bool
) -> None:
    """A host is asked for the release; the library of systemd shows that of a --root tree."""
    library = f"usr/lib/systemd/libsystemd-shared-{release}.so"
    host = booted(tmp_path, "usr/lib/systemd/systemd", library, release=release, is_live=is_live)
    before = sorted(tmp_path.rglob("*"))
    installation = installation_for(host, REQUEST, (), PROGRAM)
    if not is_refused:
        install.install(host, installation)
        assert (tmp_path / "etc/systemd/system/k3s-harden.service").exists()
        return
    with pytest.raises(UnsupportedHostError, match=f"found systemd {release}, expected 243 or newer") as refused:
        install.install(host, installation)
    assert refused.value.exit_code == 6
    assert sorted(tmp_path.rglob("*")) == before
