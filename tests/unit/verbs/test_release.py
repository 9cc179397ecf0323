"""Starts of K3s without the gate, and retries of blocked services."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from agent.errors import UsageError
from agent.host.process import Completed
from agent.model import ShellCommand
from agent.node.gate_units import DROPIN
from agent.verbs.release import release_once, retry_blocked_starts
from tests.fake import Programs, fake_host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
RUN = "run/k3s-harden"


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A host tree with a gate for two services."""
    (tmp_path / "run").mkdir()
    for service in ("k3s", "k3s-east"):
        dropin = tmp_path / f"etc/systemd/system/{service}.service.d/{DROPIN}"
        dropin.parent.mkdir(parents=True)
        dropin.write_text("# k3s-harden@\n")
        dropin.parent.with_name(f"{service}.service").touch()
    return tmp_path


def test_a_release_is_a_private_file_per_service_with_user_and_time(guarded: Path) -> None:
    """The drop-in of the service uses the file. The system log contains the same text."""
    logger = guarded / "usr/bin/logger"
    logger.parent.mkdir(parents=True)
    logger.touch()
    words = ("/usr/bin/logger", "--tag", "k3s-harden", "--priority", "authpriv.warning", "--")
    user = fake_host(guarded).user
    texts = [
        f"{service}.service may start once without its gate: k3s-harden release --once by {user}"
        for service in ("k3s", "k3s-east")
    ]
    programs = Programs({(*words, text): Completed(0, "", "") for text in texts})
    host = fake_host(guarded, programs=programs, is_live=True)
    report = release_once(host, ())
    assert report.exit_code == 0
    assert {item.id for item in report.items} == {"k3s.service", "k3s-east.service"}
    for service in ("k3s", "k3s-east"):
        file = guarded / RUN / f"release.{service}"
        assert file.read_text().startswith(user)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(programs.asked) == 2


def test_only_the_named_service_is_released(guarded: Path) -> None:
    """Other services still need their gate."""
    release_once(fake_host(guarded, is_live=True), ("k3s-east.service",))
    assert [file.name for file in (guarded / RUN).iterdir()] == ["release.k3s-east"]


def test_a_service_without_the_gate_cannot_be_released(guarded: Path) -> None:
    """The error lists the services with a gate. No file is written."""
    with pytest.raises(UsageError, match=r"k3s-west\.service: there is no such service with a gate") as caught:
        release_once(fake_host(guarded, is_live=True), ("k3s-west.service",))
    assert "k3s-east.service" in caught.value.hint
    assert not (guarded / RUN).exists()


def test_only_services_that_exist_are_released(guarded: Path) -> None:
    """install writes drop-ins for both usual services. A file for the other one would let its first start pass."""
    (guarded / "etc/systemd/system/k3s-agent.service.d").mkdir()
    (guarded / f"etc/systemd/system/k3s-agent.service.d/{DROPIN}").write_text("# k3s-harden@\n")
    report = release_once(fake_host(guarded, is_live=True), ())
    assert {item.id for item in report.items} == {"k3s.service", "k3s-east.service"}
    restarts = [one.step for one in report.next_steps if isinstance(one.step, ShellCommand)]
    assert {one.line for one in restarts} == {"sudo systemctl restart k3s", "sudo systemctl restart k3s-east"}
    assert not (guarded / RUN / "release.k3s-agent").exists()
    with pytest.raises(UsageError, match=r"k3s-agent\.service: there is no such service with a gate"):
        release_once(fake_host(guarded, is_live=True), ("k3s-agent.service",))


def test_a_host_tree_has_no_start_to_release(guarded: Path) -> None:
    """No service runs in a host tree."""
    with pytest.raises(UsageError, match="no service runs in it"):
        release_once(fake_host(guarded), ())


def test_a_compliant_run_retries_blocked_services_and_ends_reports_of_releases(guarded: Path) -> None:
    """It creates the file that ends the pause of each blocked service, and removes the records of releases."""
    run = guarded / RUN
    run.mkdir(parents=True)
    for name in ("blocked.k3s", "released.k3s-east", "passed.k3s"):
        (run / name).touch()
    assert retry_blocked_starts(fake_host(guarded, is_live=True)) == ("k3s.service",)
    assert {file.name for file in run.iterdir()} == {"blocked.k3s", "retry.k3s", "passed.k3s"}
