"""The verb assess: the assessment of this host, with its next steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.base.errors import UsageError
from agent.base.repair import FixOwner
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from agent.verbs.advice import next_steps
from agent.verbs.k3s_state import installed_k3s

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment
    from agent.assess.evidence.host_assessment import HostAssessment
    from agent.base.host import Host

AUTO = "auto"
"""Selects the newest benchmark for the host's K3s version."""


def with_next_steps(host: Host, done: HostAssessment) -> Assessment:
    """Return an assessment with what to do next."""
    assessment, node, findings = done
    k3s = replace(installed_k3s(host, node.facts), is_installed=node.is_installed)
    open_by: dict[FixOwner, list[str]] = {}
    for verdict in assessment.open:
        if verdict.owner is not FixOwner.OPERATOR or verdict.status is ControlStatus.FAIL:
            open_by.setdefault(verdict.owner, []).append(verdict.control.id)
    awaiting = sum(verdict.awaits_correction_of is not None for verdict in assessment.open)
    return replace(assessment, next_steps=next_steps.steps_after_assess(findings, k3s, open_by, awaiting))


def benchmark_named(text: str) -> Benchmark | None:
    """Return the benchmark of this name, with or without `cis-`; None for `auto`. Raises UsageError for any other."""
    if text == AUTO:
        return None
    try:
        return Benchmark(f"cis-{text.removeprefix('cis-')}")
    except ValueError:
        raise UsageError(
            f"cannot assess against the benchmark {text}: it is unknown",
            f"pass one of {', '.join(Benchmark)}, or {AUTO}",
        ) from None
