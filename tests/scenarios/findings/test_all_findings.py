"""Properties of all findings: their order, their effect on the gate, and explain."""

from __future__ import annotations

import importlib
import re
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from agent.base.report import Level, Trait
from agent.findings import KINDS, with_trait
from agent.findings.machine.reason import REASONS
from agent.harden.settings.stages import last_recording_day
from agent.verbs.explain import explained
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import PSP, SITE, Case, unchanged
from tests.scenarios.follower import Follower
from tests.scenarios.host_tree import AUDIT, DATA_DIR, MANIFESTS, SETTINGS
from tests.scenarios.loaded_program import LoadedProgram

HERE = Path(__file__)
MODULES = [
    importlib.import_module(f"tests.scenarios.findings.{path.stem}")
    for path in sorted(HERE.parent.glob("*.py"))
    if path.stem not in {"case", HERE.stem}
]
CASES: list[Case] = [case for module in MODULES for case in module.CASES]


ADVICE = re.compile(
    r"(^|[;:,.] |\b(and|or|then|first) )(add|call|change|correct|delete|install|merge|move|pass|remove|rename|"
    r"replace|restart|revert|run|set|start|upgrade|use|waive|write)\b|\bsudo |`k3s-harden (?!gate`)",
    re.MULTILINE,
)
"""What to do is only in the repair. `k3s-harden gate` is the command of the gate's unit."""


def case_id(case: Case) -> str:
    return f"{case.kind}-{case.name}" if case.name else case.kind


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_finding_has_a_repair_that_fixes_it(case: Case, hardened: Hardened) -> None:
    """`check` reports the values, the location and the remediation; after the cure the finding is gone."""
    host = hardened(case.role, case.version)
    case.problem(host)
    report = host.seen("check")
    # One line can have several problems: a list without `+` drops each item of the k3s-harden drop-in.
    finding, *others = report.of(case.kind)
    assert all((other.location, other.repair) == (finding.location, finding.repair) for other in others)
    assert fnmatchcase(finding.location, case.seen.location)
    repair = case.seen.repair.replace("{location}", finding.location) or finding.repair
    # Not the day on which the cases were collected: that can be yesterday.
    today = time.strftime("%Y-%m-%d", time.gmtime())
    expected = case.seen.expected.replace("{today}", today).replace("{latest}", last_recording_day(today))
    assert (finding.expected, finding.found, finding.repair) == (expected, case.seen.found, repair)
    assert not ADVICE.search(f"{finding.message}\n{finding.expected}\n{finding.found}")
    kind = KINDS[case.kind]
    assert finding.level == str(kind.level)
    assert (finding.blocks_gate, finding.prevents_start) == (kind.blocks_gate.holds, kind.prevents_start.holds)
    if finding.level == "error":
        assert report.code == 3
    if not case.seen.repair:
        known = {(other.id, other.message) for other in report.findings}
        assert Follower(host).carry_out(finding.steps, case.answer), finding.repair
        later = host.seen("check")
        assert not later.of(case.kind), finding.repair
        new = [other for other in later.findings if other.level == "error" and (other.id, other.message) not in known]
        assert not new, finding.repair
        return
    if case.cure is None:
        case.neighbour(host)
    else:
        case.cure(host, finding)
    assert (case.cure is unchanged) == bool(host.seen("check").of(case.kind))


@pytest.mark.parametrize("case", [case for case in CASES if case.cure is not None], ids=case_id)
def test_a_similar_host_does_not_have_the_finding(case: Case, hardened: Hardened) -> None:
    """The harmless neighbour of each problem; without a cure, the test above has tried it."""
    host = hardened(case.role, case.version)
    case.neighbour(host)
    assert host.seen("check").of(case.kind) == ()


NOT_CASES = {
    "admission-policies-not-enforced",
    "admission-policies-unsupported",
    "read-only-etc",
    "kernel-read-only",
    "restart-needed",
    "objects-remain",
    "hardening-not-recorded",
    "gate-remains",
}
"""Kinds that have tests of their own beside the cases."""

NOT_IN_A_TREE = {
    "accounts-remain",
    "breaks-at-once",
    "k3s-config-recorded",
    "k3s-end-of-life",
    "version-unknown",
    "gate-not-enforced",
    "impact-unknown",
    "k3s-unblocked",
    "gate-not-loaded",
    "start-contested",
    "clock-implausible",
    "expired-waiver-applied",
    "recorded-settings-used",
    "recorded-version-used",
    "version-differs",
    "waiver-expires-soon",
}
"""Kinds that need a running systemd, a record or a clock, which a host tree does not have; other tests cover them."""


def test_each_kind_of_finding_has_a_scenario() -> None:
    """tests/unit/findings/machine has the cases of the reasons on the host."""
    assert {case.kind for case in CASES} | NOT_CASES | NOT_IN_A_TREE == KINDS.keys() - REASONS.keys()


@pytest.mark.parametrize(
    ("role", "version"), [("server", "1.24"), ("server", "1.34"), ("agent", "1.24"), ("agent", "1.34")]
)
def test_a_compliant_host_has_no_findings(role: str, version: str, hardened: Hardened) -> None:
    """After `apply`, `check` reports compliant items only."""
    seen = hardened(role, version).seen("check")
    assert (seen.code, seen.findings) == (0, ())
    assert set(seen.items.values()) == {"compliant"}


def test_all_problems_are_in_one_report(hardened: Hardened) -> None:
    """The order is: findings that prevent the start of K3s, errors, warnings, notes."""
    host = hardened()
    host.write("/etc/sysctl.conf", "kernel.panic=0\n")
    host.write("/etc/sysctl.d/zz.conf", "kernel.panic_on_oops=0\n")
    host.write("/proc/sys/vm/panic_on_oom", "1\n")
    host.write(SITE, "kube-apiserver-arg:\n  - audit-log-maxage=90\n")
    host.write(f"{MANIFESTS}/own.yaml", PSP)
    host[f"{DATA_DIR}/server"].chmod(0o755)
    host.edit(AUDIT)
    seen = host.seen("check")
    assert seen.code == 3
    assert seen.ids == {
        "sysctl-conf-disagrees",
        "sysctl-overridden",
        "kernel-parameter",
        "list-dropped",
        "stale-pod-security-policy",
        "mode-loosened",
        "file-edited",
    }
    assert seen.findings[0].prevents_start
    levels = [finding.level for finding in seen.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)


def test_each_finding_is_explained_by_its_name(program: LoadedProgram) -> None:
    """`explain` accepts the id that `check` prints, and prints both properties."""
    assert program.run("explain", "file-edited") == (0, explained("file-edited"), "")
    for kind in KINDS:
        assert explained(kind).startswith(f"{kind} (")
        assert "\nThe gate blocks K3s\n" in explained(kind)
        assert "\nPrevents K3s from starting\n" in explained(kind)


@pytest.mark.parametrize(
    "case", [case for case in CASES if KINDS[case.kind].prevents_start.holds and not case.name], ids=case_id
)
def test_the_gate_does_not_block_k3s_if_k3s_fails_by_itself(case: Case, hardened: Hardened) -> None:
    """The gate logs the finding and exits with 0; `check` and `diff` exit with 3."""
    host = hardened(case.role, case.version)
    case.problem(host)
    assert {host.seen(verb).code for verb in ("check", "diff")} == {3}
    host.write(SETTINGS, f"role: {case.role}\nk3s-version: '{case.version}'\n")
    done = host.run("gate")
    assert done.code == 0
    repaired = case.seen.repair == "k3s-harden apply"
    assert (f"error {case.kind}: K3s does not start: " in done.stdout) is not repaired
    result = "K3s may start" if repaired else "The gate does not block K3s, but K3s will not start"
    assert f"result 0: {result} (" in done.stdout


@pytest.mark.parametrize(
    "kind",
    [
        "data-dir-not-absolute",
        "k3s-config-ignored",
        "k3s-config-not-read",
        "pod-security-disabled",
        "pod-security-not-enforced",
        "list-dropped",
        "option-overridden",
        "edited-file-insufficient",
    ],
)
def test_the_gate_blocks_k3s_if_it_would_run_unhardened(kind: str, hardened: Hardened) -> None:
    """apply cannot change the operator's files."""
    case = next(case for case in CASES if case.kind == kind)
    host = hardened(case.role, case.version)
    case.problem(host)
    host.write(SETTINGS, f"k3s-version: '{case.version}'\n")
    assert host.run("gate").code == 3


@pytest.mark.parametrize("kind", sorted(with_trait(Trait.GAP_IN_GATE) - NOT_IN_A_TREE))
def test_assess_and_drift_report_an_incomplete_gate(kind: str, hardened: Hardened) -> None:
    """They report it at each run until it is fixed, because no control covers the gate."""
    host = hardened()
    next(case for case in CASES if case.kind == kind).problem(host)
    assert f"({kind})" in host.run("assess", "--format", "plain").stdout
    for _ in range(2):
        done = host.run("drift")
        assert (done.code, done.stdout.count(f"({kind})")) == (0, 1)


def test_no_finding_both_blocks_the_gate_and_prevents_the_start() -> None:
    """If K3s fails by itself, it does not run unhardened, so the gate does not need to block it."""
    assert [kind.id for kind in KINDS.values() if kind.blocks_gate.holds and kind.prevents_start.holds] == []
    errors = [kind for kind in KINDS.values() if kind.level is Level.ERROR]
    assert [kind.id for kind in errors if not (kind.blocks_gate.reason and kind.prevents_start.reason)] == []
