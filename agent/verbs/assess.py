"""Assess a host against a benchmark: look once, ask every control, take the site's waivers into account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import findings
from agent.assess import evidence, waived_controls
from agent.assess.assessment import Assessment, Notice
from agent.assess.verdicts import verdict
from agent.assess.verdicts.node import AssessedNode
from agent.benchmark import catalogue
from agent.benchmark.check import AllOf, Ownership, Permissions
from agent.benchmark.versions import FITS, Benchmark, fitting
from agent.errors import UsageError
from agent.present import remediation
from agent.situation import observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agent.assess.baseline import Baseline
    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.host import Host
    from agent.situation import Request, Situation

AUTO = "auto"
"""Stands for the newest benchmark that is for the host's K3s version."""

_LIMITS = ("version-assumed", "not-readable", "restart-needed")
"""Findings that say what an assessment could not look at, or what its verdicts are not about."""

_JUDGED = ("mode-loosened", "option-overridden")
"""Findings that block the gate, and that verdicts report."""


def assess_host(
    host: Host,
    request: Request,
    benchmark: Benchmark | None = None,
    *,
    earlier: Baseline | None = None,
    watched: Callable[[Sequence[BenchmarkControl]], Iterable[BenchmarkControl]] = iter,
) -> Assessment:
    """Assess this host, against the benchmark that fits its K3s version if none is named. Changes nothing.

    What was open in the report `earlier` does not make the exit code. The controls go through `watched`, which may show
    how far it got. Raises what situation.look raises.
    """
    seen = observe(host, request)
    benchmark = benchmark or fitting(seen.facts.version)
    controls = catalogue.of(benchmark)
    asked = [check for control in controls for check in _file_checks(control.check_of(benchmark))]
    at = AssessedNode(seen, evidence.read(host, seen.facts, asked))
    chosen = waived_controls.select(seen.waivers.all, controls, benchmark, seen.waivers.scope)
    verdicts = tuple(verdict(control, benchmark, at, chosen.of(control)) for control in watched(controls))
    unused = chosen.unused({one.control.id: one.status for one in verdicts})
    return Assessment(
        benchmark=benchmark,
        node=at.evidence.node,
        when=host.now(),
        facts=seen.facts.evidence,
        verdicts=verdicts,
        notices=(
            *_notices(seen, benchmark),
            *(_misfits(earlier, at.evidence.node, benchmark) if earlier else ()),
            *chosen.notices,
            *unused,
        ),
        known=earlier.known if earlier else None,
    )


def benchmark_named(text: str) -> Benchmark | None:
    """The benchmark that a word names, with or without `cis-`; None for `auto`. Raises UsageError for any other."""
    if text == AUTO:
        return None
    try:
        return Benchmark(f"cis-{text.removeprefix('cis-')}")
    except ValueError:
        raise UsageError(
            f"cannot assess against the benchmark {text}: it is not known", f"one of {', '.join(Benchmark)}, or {AUTO}"
        ) from None


def _file_checks(check: Check) -> Iterator[Permissions | Ownership]:
    for one in check.checks if isinstance(check, AllOf) else (check,):
        if isinstance(one, Permissions | Ownership):
            yield one


def _notices(seen: Situation, benchmark: Benchmark) -> Iterator[Notice]:
    """What limits what this assessment can tell, and what would keep K3s from starting, whatever its verdicts say."""
    for finding in findings.collect(seen):
        of_startup = finding.prevents_start or finding.blocks_gate
        if finding.id in _LIMITS or (of_startup and finding.id not in _JUDGED):
            yield Notice(
                f"{finding.message} ({finding.id})", str(finding.location or ""), remediation.text(finding.remediation)
            )
    version = seen.facts.version
    if not FITS[benchmark].includes(version):
        message = f"{benchmark} is for K3s {FITS[benchmark]}, and this is {version}"
        yield Notice(message, "", f"for the one that fits, {fitting(version)}, leave --benchmark out")


def _misfits(earlier: Baseline, node: str, benchmark: Benchmark) -> Iterator[Notice]:
    """Why a comparison with an earlier report says less than it seems to."""
    remedy = "compare with a report of this node and benchmark"
    if earlier.node != node:
        yield Notice(f"the baseline is a report of {earlier.node or 'a node without a name'}", "", remedy)
    if earlier.benchmark != benchmark:
        message = f"the baseline is a report on {earlier.benchmark}: what that does not have counts as new here"
        yield Notice(message, "", remedy)
