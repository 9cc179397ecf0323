"""k3s-end-of-life: a warning on a host, for a version that Kubernetes does not patch any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.base.repair import RunVerb
from agent.base.report import Finding
from agent.findings import KINDS, collect_findings
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.roles_and_versions import NEWEST_KNOWN
from agent.reports.repair_texts import text
from tests.fake import Clock, fake_host

CHRISTMAS = Clock(1_798_156_800)  # 2026-12-25


def found(
    root: Path, version: str = "", *, is_live: bool = True, for_gate: bool = False, clock: Clock = CHRISTMAS
) -> tuple[Finding, ...]:
    """Return the findings of this kind on a host with this version of K3s, which is unknown if it is empty."""
    host = fake_host(root, clock=clock, is_live=is_live)
    overrides = Overrides(role="server", k3s_version=version or None)
    situation = observe_situation(host, Request(overrides, for_gate=for_gate))
    return collect_findings(situation, [KINDS["k3s-end-of-life"]])


def test_a_version_without_security_fixes_is_a_warning(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, "v1.34.4+k3s1")
    assert str(finding.level) == "warning"
    assert finding.message == "Kubernetes v1.34 has no security fixes any more"
    assert finding.found == "v1.34.4+k3s1, supported until 2026-10-27"
    assert finding.expected == "a version that is supported on 2026-12-25"
    assert finding.repair.steps == (RunVerb("preflight", (f"v{NEWEST_KNOWN.family}",)),)


def test_the_newest_known_version_needs_a_newer_release_of_this_program(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, NEWEST_KNOWN.family, clock=Clock(4_070_908_800))
    assert text(finding.repair) == "upgrade k3s-harden, then K3s"


@pytest.mark.parametrize("version", ["v1.35.1+k3s1", ""])
def test_a_supported_or_unknown_version_is_no_finding(version: str, tmp_path: Path) -> None:
    assert found(tmp_path, version) == ()


def test_a_host_tree_starts_on_another_day(tmp_path: Path) -> None:
    assert found(tmp_path, "1.34", is_live=False) == ()


def test_the_gate_logs_nothing_that_no_start_of_k3s_can_change(tmp_path: Path) -> None:
    assert found(tmp_path, "v1.34.4+k3s1", for_gate=True) == ()
