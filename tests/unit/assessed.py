"""Assessments of a few sample controls."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Verdict
from agent.assess.benchmark.control import BenchmarkControl, numbered
from agent.assess.benchmark.versions import Benchmark
from agent.assess.checks.beyond_benchmark import KernelParameter
from agent.assess.checks.files import Permissions
from agent.base.model import FileMode, FixOwner, Instruction, Location, Remediation
from agent.base.report import Fact
from agent.harden.guide.sysctls import SYSCTLS

if TYPE_CHECKING:
    from agent.assess.checks.check import Check

WHEN = 1_800_000_000.0
"""Seconds since the epoch."""

VERSION = "v1.34.1+k3s1"
BENCHMARK = Benchmark.CIS_1_9


def control(name: str, check: Check, numbers: str = "") -> BenchmarkControl:
    """A control; `numbers` as in the catalogue, empty for a control beyond the benchmark."""
    return BenchmarkControl(
        id=name,
        title=f"{name} is right",
        numbers=numbered(numbers) if numbers else {},
        check=check,
        why="It matters.",
        source="upstream.go",
    )


CERTIFICATES = control(
    "pki-certificate-permissions",
    Permissions(("server/tls/*.crt",), at_most=FileMode(0o600)),
    "1.1.20u 1.1.20u 1.1.20u 1.1.20u 1.1.20A 1.1.20M 1.1.20A 1.1.20A 1.1.20A 1.1.20M",
)
KEYS = control(
    "pki-key-permissions",
    Permissions(("server/tls/*.key",), at_most=FileMode(0o600)),
    "1.1.21u 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21M",
)
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
        remediation=Remediation((Instruction("fix it"),), owner),
    )


def assessment(*verdicts: Verdict, when: float = WHEN, version: str = VERSION, role: str = "server") -> Assessment:
    """An assessment with these verdicts."""
    facts = (Fact("role", role, "k3s.service"), Fact("K3s version", version, "k3s --version"))
    return Assessment(benchmark=BENCHMARK, node="node-1", when=when, facts=facts, verdicts=verdicts)
