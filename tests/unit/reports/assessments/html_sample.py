"""Sample assessments for the HTML report: one with every status, and one as large as a benchmark."""

from __future__ import annotations

from typing import Any

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Verdict, Waiver
from agent.assess.benchmark import catalogue
from agent.assess.benchmark.catalogue import SECTIONS
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Manual, NotInK3s
from agent.base.repair import NO_REPAIR, Repair, Restart, RunVerb
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from tests.unit.reports.assessments import samples
from tests.unit.reports.assessments.samples import (
    CANNOT_TELL,
    DOES_NOT_APPLY,
    FAILS,
    FOR_A_PERSON,
    FULL,
    PASSES,
    WAIVED,
    WARNS,
    at,
)


def control(id_: str, title: str, number: str = "") -> BenchmarkControl:
    """Return a control; without a number it is beyond the benchmark."""
    return replace(samples.row(id_, Manual("see"), number), title=title)


def verdict(row: BenchmarkControl, status: ControlStatus, **fields: Any) -> Verdict:
    return samples.verdict(
        row,
        status,
        expected=f"expected of {row.id}",
        found=f"found of {row.id}",
        evidence=(Evidence(f"seen of {row.id}", at("/etc/rancher/k3s/config.yaml", len(row.id))),),
        repair=WARNS.repair,
    )._replace(**fields)


WAIVED_FOR_GOOD = verdict(
    control("pod-pids", "A limit on pod PIDs", "4.2.13"),
    ControlStatus.WAIVED,
    waiver=Waiver("one tenant only", "", at("/etc/k3s-harden/waivers.yaml", 9), "Ann"),
)
PASSED = PASSES._replace(evidence=WAIVED.evidence)
MIXED = replace(FULL, verdicts=(*FULL.verdicts, WAIVED_FOR_GOOD))
"""A verdict of every status, unordered, without a baseline."""


def of_catalogue(benchmark: Benchmark) -> Assessment:
    """Return all controls of a benchmark; every third automated one fails."""
    verdicts = []
    for index, row in enumerate(catalogue.controls_of(benchmark)):
        check = row.check_of(benchmark)
        if isinstance(check, Manual):
            shown = FOR_A_PERSON._replace(reason=check.review, repair=samples.steps(check.review))
        elif isinstance(check, NotInK3s):
            shown = DOES_NOT_APPLY._replace(reason=check.reason)
        elif index % 3:
            shown = PASSED
        else:
            shown = WARNS._replace(repair=FAILS.repair)
        verdicts.append(shown._replace(control=row, number=row.numbers.get(benchmark)))
    return replace(MIXED, benchmark=benchmark, verdicts=tuple(verdicts))


def hardened() -> Assessment:
    """Return the assessment of a hardened server by the newest benchmark: five automated controls fail."""
    all_of_it = of_catalogue(list(Benchmark)[-1])
    failed = [shown.control.id for shown in all_of_it.verdicts if shown.status is ControlStatus.FAIL][::7][:5]
    verdicts = (
        shown
        if shown.status is not ControlStatus.FAIL or shown.control.id in failed
        else PASSED._replace(control=shown.control, number=shown.number)
        for shown in all_of_it.verdicts
    )
    return replace(all_of_it, verdicts=tuple(verdicts))


_STATUSES = (*(ControlStatus.PASS,) * 6, *ControlStatus)


def large(count: int = 150) -> Assessment:
    """Return as many verdicts as the catalogue has controls, in all sections, with texts of realistic length."""
    sections = list(SECTIONS)
    verdicts = []
    for index in range(count):
        section = sections[index % len(sections)]
        status = _STATUSES[index % len(_STATUSES)]
        row = control(
            f"control-with-a-name-{index}",
            f"The argument --some-argument-{index} of the API server is set as appropriate",
            f"{section}.{index // len(sections) + 1}" if section else "",
        )
        without_answer = (ControlStatus.UNKNOWN, ControlStatus.MANUAL, ControlStatus.NOT_APPLICABLE)
        verdicts.append(
            verdict(
                row,
                status,
                expected="a comma-separated list with NodeRestriction and EventRateLimit",
                found="NodeRestriction",
                evidence=WAIVED.evidence * (1 + index % 2),
                reason=CANNOT_TELL.reason if status in without_answer else "",
                repair=(
                    WARNS.repair,
                    Repair((RunVerb("apply"),), Restart.K3S),
                    Repair(restart=Restart.START),
                    NO_REPAIR,
                )[index % 4],
                waiver=WAIVED.waiver if status is ControlStatus.WAIVED else None,
            )
        )
    return replace(MIXED, verdicts=tuple(verdicts))
