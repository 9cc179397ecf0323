"""Assessments of a few sample controls."""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Verdict
from agent.assess.benchmark.catalogue import all_controls
from agent.assess.benchmark.control import BenchmarkControl, Rating, Severity
from agent.assess.checks.check import Check
from agent.assess.checks.file_modes import Permissions
from agent.assess.checks.sysctls_and_directories import KernelParameter
from agent.base.model import FileMode, Location
from agent.base.repair import NO_REPAIR, FixOwner, Repair, Restart, Run, RunVerb
from agent.base.report import Fact
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.cis.versions import Benchmark, Numbers

WHEN = 1_800_000_000.0
"""Seconds since the epoch."""

VERSION = "v1.34.1+k3s1"
BENCHMARK = Benchmark.CIS_1_9


RATINGS = {row.id: row.rating for row in all_controls()}


REPAIR_OF = {
    FixOwner.APPLY: Repair((RunVerb("apply"),)),
    FixOwner.K3S: Repair(restart=Restart.START),
    FixOwner.OPERATOR: Repair((Run("fix it"),)),
    FixOwner.NONE: NO_REPAIR,
}
"""A repair that this owner carries out."""


def control(name: str, check: Check) -> BenchmarkControl:
    return BenchmarkControl(
        id=name,
        title=f"{name} is right",
        numbers=Numbers(name),
        check=check,
        why="It matters.",
        source="upstream.go",
        rating=RATINGS.get(name, Rating(Severity.MEDIUM, "")),
    )


CERTIFICATES = control("pki-certificate-permissions", Permissions(("server/tls/*.crt",), at_most=FileMode(0o600)))
KEYS = control("pki-key-permissions", Permissions(("server/tls/*.key",), at_most=FileMode(0o600)))
OVERCOMMIT = control(
    "vm.overcommit_memory", KernelParameter(next(r for r in SYSCTLS if r.id == "vm.overcommit_memory"))
)


def verdict(  # noqa: PLR0913 - each has its default
    about: BenchmarkControl,
    status: ControlStatus = ControlStatus.PASS,
    *,
    found: str = "",
    where: str = "",
    line: int = 0,
    reason: str = "",
    owner: FixOwner = FixOwner.NONE,
) -> Verdict:
    """A verdict on one control with one location."""
    return Verdict(
        control=about,
        number=about.numbers.get(BENCHMARK),
        status=status,
        expected="right",
        found=found,
        evidence=(Evidence(found or "observed", Location(PurePosixPath(where), line)),) if where else (),
        reason=reason,
        repair=REPAIR_OF[owner],
        met_by=owner,
    )


def assessment(*verdicts: Verdict, when: float = WHEN, version: str = VERSION, role: str = "server") -> Assessment:
    facts = (Fact("role", role, "k3s.service"), Fact("K3s version", version, "k3s --version"))
    return Assessment(benchmark=BENCHMARK, node="node-1", when=when, facts=facts, verdicts=verdicts)
