"""An assessment as few series, in text that both Prometheus and an OpenMetrics parser read.

It is what the textfile collector of the node exporter takes: no sample has a time of its own, the types are those that
both formats have, and the end mark of OpenMetrics is a comment in the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.present.assessments.common import fact, seconds
from agent.report import K3S_VERSION, ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.assess.assessment import Assessment


_DAY = 86_400


class _Sample(NamedTuple):
    """A value with its labels."""

    labels: Mapping[str, str]
    value: str


def as_openmetrics(assessment: Assessment, changes: Mapping[str, int] | None = None) -> str:
    """The text in ASCII. A control has a series of its own only while it is open.

    `changes` says how many controls got worse, better or otherwise since the look before; None where there was none.
    """
    from agent import __version__

    about = {
        "version": __version__,
        "benchmark": str(assessment.benchmark),
        "role": fact(assessment, ROLE),
        "k3s_version": fact(assessment, K3S_VERSION),
    }
    counts = [_Sample({"status": str(status)}, str(count)) for status, count in assessment.counts().items()]
    # A series may be there only once, whatever the rows are: the collector would refuse the whole file.
    open_ones = {
        verdict.control.id: _Sample(
            {
                "id": verdict.control.id,
                "number": verdict.number.text if verdict.number else "",
                "status": str(verdict.status),
                "actor": str(verdict.owner),
            },
            "1",
        )
        for verdict in assessment.verdicts
        if verdict.is_open
    }
    lines = [
        *_gauge("k3s_harden_info", "What was assessed, and by which version; always 1.", [_Sample(about, "1")]),
        *_gauge(
            "k3s_harden_assessment_timestamp_seconds",
            "When the node was assessed, in seconds since the epoch.",
            [_Sample({}, f"{assessment.when:.3f}")],
        ),
        *_gauge("k3s_harden_controls", "How many controls have each status.", counts),
        *_gauge(
            "k3s_harden_control_open",
            "A control that failed or could not be told; always 1, and gone when it is met.",
            open_ones.values(),
        ),
        *_waivers(assessment),
        *_drift(changes or {}),
        "# EOF",
    ]
    return "".join(f"{line}\n" for line in lines)


def _waivers(assessment: Assessment) -> Iterator[str]:
    """When each waiver counts no more, which is the day after its last one: an alert can come in time."""
    samples = {
        verdict.control.id: _Sample({"id": verdict.control.id}, f"{seconds(verdict.waiver.expires) + _DAY:.0f}")
        for verdict in assessment.verdicts
        if verdict.waiver and verdict.waiver.expires
    }
    if samples:
        text = "When the waiver of a control ends, in seconds since the epoch."
        yield from _gauge("k3s_harden_waiver_expiry_timestamp_seconds", text, samples.values())


def _drift(changes: Mapping[str, int]) -> Iterator[str]:
    if changes:
        samples = [_Sample({"change": direction}, str(count)) for direction, count in changes.items()]
        yield from _gauge("k3s_harden_drift_controls", "How many controls have changed since the last look.", samples)


def _gauge(name: str, text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    for sample in samples:
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels.items())
        yield f"{name}{{{labels}}} {sample.value}" if labels else f"{name} {sample.value}"


def _escaped(value: str) -> str:
    value = value.encode("ascii", "backslashreplace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
