"""An assessment as metrics that parsers of Prometheus and of OpenMetrics read.

The textfile collector of the node exporter takes it: samples have no timestamps, only types of both formats are used,
and the end mark of OpenMetrics is a comment in the format of Prometheus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.present.assessments.common import fact, seconds
from agent.report import K3S_VERSION, ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.assess.assessment import Assessment, ControlStatus

    Sample = tuple[Mapping[str, str], str]
    """Labels and a value."""

_DAY = 86_400


def as_openmetrics(
    assessment: Assessment, changes: Mapping[str, int] | None = None, *, undelivered: bool | None = None
) -> str:
    """Return the text in ASCII; only open controls have their own series.

    `changes` is the number of controls by kind of change since the previous assessment; None without one.
    `undelivered` says whether an earlier notification was not delivered; None if the site gets none.
    """
    from agent import __version__

    about = {
        "version": __version__,
        "benchmark": str(assessment.benchmark),
        "role": fact(assessment, ROLE),
        "k3s_version": fact(assessment, K3S_VERSION),
    }
    counts = _counts(assessment.counts())
    # A duplicate series would make the collector reject the whole file.
    open_ones = {
        verdict.control.id: (
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
        *_gauge("k3s_harden_info", "The assessed node and the version of k3s-harden; always 1.", [(about, "1")]),
        *_gauge(
            "k3s_harden_assessment_timestamp_seconds",
            "Time of the assessment in seconds since the epoch.",
            [({}, f"{assessment.when:.3f}")],
        ),
        *_gauge("k3s_harden_controls", "Number of controls with each status.", counts),
        *_gauge(
            "k3s_harden_controls_beyond_benchmark",
            "Number of those controls that the benchmark does not have.",
            _counts(assessment.counts("")),
        ),
        *_gauge(
            "k3s_harden_control_open",
            "A control that failed or could not be determined; always 1, absent if it is not open.",
            open_ones.values(),
        ),
        *_waivers(assessment),
        *_drift(changes or {}),
        *_notification(undelivered),
        "# EOF",
    ]
    return "".join(f"{line}\n" for line in lines)


def _counts(counts: Mapping[ControlStatus, int]) -> list[Sample]:
    return [({"status": str(status)}, str(count)) for status, count in counts.items()]


def _waivers(assessment: Assessment) -> Iterator[str]:
    """Yield the time at which each waiver expires: the end of its last day."""
    samples = {
        verdict.control.id: ({"id": verdict.control.id}, f"{seconds(verdict.waiver.expires) + _DAY:.0f}")
        for verdict in assessment.verdicts
        if verdict.waiver and verdict.waiver.expires
    }
    if samples:
        text = "Time at which the waiver of a control expires, in seconds since the epoch."
        yield from _gauge("k3s_harden_waiver_expiry_timestamp_seconds", text, samples.values())


def _drift(changes: Mapping[str, int]) -> Iterator[str]:
    if changes:
        samples = [({"change": direction}, str(count)) for direction, count in changes.items()]
        yield from _gauge(
            "k3s_harden_drift_controls", "Number of controls that changed since the previous assessment.", samples
        )


def _notification(undelivered: bool | None) -> Iterator[str]:  # noqa: FBT001 - a value of the sample
    if undelivered is not None:
        text = "Whether an earlier notification of the site was not delivered."
        yield from _gauge("k3s_harden_notification_undelivered", text, [({}, str(int(undelivered)))])


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(value: str) -> str:
    value = value.encode("ascii", "backslashreplace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
