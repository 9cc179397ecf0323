"""A gate that observes: who may make it observe, what it does, and what ends that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.base.host import Host
from agent.base.report import Level
from agent.harden.gate.gate_state import OBSERVES, is_unhardened_cluster, observes_since
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR
from agent.verbs import check_and_apply
from tests.fake import Clock, fake_host, in_memory

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
TODAY = 1_798_761_600.0  # 2027-01-01


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory("etc", "var/lib") as directory:
        yield directory


def observing(root: Path, text: str = "2026-12-24\n", mode: int = 0o600) -> Host:
    file = root / str(OBSERVES).lstrip("/")
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return fake_host(root, clock=Clock(TODAY), is_live=True)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("", 0o600), ("yes\n", 0o600), ("2026-13-24\n", 0o600), ("2026-12-24\nx", 0o600), ("2026-12-24\n", 0o602)],
)
def test_any_other_file_leaves_the_gate_closed(text: str, mode: int, root: Path) -> None:
    """A file that another user can change counts as absent."""
    assert observes_since(observing(root, text, mode)) == ""


def test_a_gate_that_observes_lets_k3s_start_and_changes_nothing(root: Path) -> None:
    report = check_and_apply.gate(observing(root), REQUEST)
    assert (int(report.exit_code), [finding.id for finding in report.findings]) == (0, ["gate-observes"])
    assert not (root / "var/lib/rancher").exists()


@pytest.mark.parametrize(("since", "level"), [("2026-12-03", Level.WARNING), ("2026-12-02", Level.ERROR)])
def test_from_day_30_on_it_is_an_error_and_k3s_still_starts(since: str, level: Level, root: Path) -> None:
    host = observing(root, f"{since}\n")
    assert [found.level for found in check_and_apply.check(host, REQUEST).findings if "gate-observes" in found.id] == [
        level
    ]
    assert int(check_and_apply.gate(host, REQUEST).exit_code) == 0


@pytest.mark.parametrize("since", ["2026-12-24", "2026-12-02"])
def test_the_first_successful_apply_ends_it_and_says_nothing_of_it(since: str, root: Path) -> None:
    """Also after day 30, when it was an error."""
    host = observing(root, f"{since}\n")
    (root / "run").mkdir()
    report = check_and_apply.apply(host, REQUEST)
    found = [finding.id for finding in report.findings if "gate-observes" in finding.id]
    assert (found, observes_since(host)) == ([], "")


def test_the_journal_of_a_host_ends_neither_what_it_proves_nor_opens_the_gate(root: Path) -> None:
    """Deleting the journal does not make the gate observe: only the file does."""
    host = fake_host(root, is_live=True)
    (root / "var/lib/rancher/k3s/server/db").mkdir(parents=True)
    assert is_unhardened_cluster(host, DEFAULT_DATA_DIR)
    check_and_apply.apply(host, REQUEST)
    assert not is_unhardened_cluster(host, DEFAULT_DATA_DIR)
    for record in (root / "var/lib/k3s-harden/journal").iterdir():
        record.unlink()
    assert observes_since(host) == ""
