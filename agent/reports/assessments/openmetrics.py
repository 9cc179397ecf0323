"""An assessment as metrics that parsers of Prometheus and of OpenMetrics read.

The textfile collector of the node exporter takes it: samples have no timestamps, only types of both formats are used,
and the end mark of OpenMetrics is a comment in the format of Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agent.assess.assessment import Assessment
from agent.base.report import K3S_VERSION, ROLE
from agent.base.times import parse_timestamp

Sample = tuple[Mapping[str, str], str]
"""Labels and a value."""

_DAY = 86_400
_GAUGES = {
    "info": "The assessed node and the version of k3s-harden; always 1.",
    "assessment_timestamp_seconds": "Time of the assessment in seconds since the epoch.",
    "controls": "Number of controls with each status.",
    "controls_beyond_benchmark": "Number of those controls that the benchmark does not have.",
    "control_open": "A control that failed or could not be determined; always 1, absent if it is not open.",
    "in_force": "A requirement with what the running node shows: PASS if it is in force; always 1.",
    "waiver_expiry_timestamp_seconds": "Time at which the waiver of a control expires, in seconds since the epoch.",
    "choices_info": "The profile, and digests of all waivers and stages; always 1.",
    "left_open": "Number of failed controls that the settings do not choose.",
    "waivers": "Number of waivers that apply to the node.",
    "stages": "Number of parts of the hardening that are postponed.",
    "stages_end_timestamp_seconds": "Time at which the stages end, in seconds since the epoch.",
    "gate_observes_since_timestamp_seconds": "Time since which the gate observes, in seconds since the epoch.",
    "started_unhardened": "Whether K3s runs with other arguments than those that its gate judged.",
    "drift_controls": "Number of controls that changed since the previous assessment.",
    "notification_undelivered": "Whether an earlier notification of the site was not delivered.",
}
"""What each gauge is, in the order of the output."""


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
        "role": assessment.fact(ROLE),
        "k3s_version": assessment.fact(K3S_VERSION),
    }
    # A duplicate series would make the collector reject the whole file.
    open_controls = {
        verdict.control.id: {
            "id": verdict.control.id,
            "number": verdict.shown_number,
            "status": str(verdict.status),
            "actor": str(verdict.owner),
        }
        for verdict in assessment.all_open
    }
    choices = assessment.choices
    samples: dict[str, list[Sample]] = {
        "info": [(about, "1")],
        "assessment_timestamp_seconds": _one(f"{assessment.when:.3f}"),
        "controls": _numbers("status", assessment.counts()),
        "controls_beyond_benchmark": _numbers("status", assessment.counts("")),
        "control_open": [(labels, "1") for labels in open_controls.values()],
        "choices_info": [({"profile": choices.profile, **choices.digests()}, "1")],
        "left_open": _one(len(assessment.left_open)),
        "waivers": _one(choices.waived),
        "stages": _one(choices.postponed),
        "started_unhardened": _one(int(any(note.finding == "started-unhardened" for note in assessment.notes))),
    }
    if assessment.effects:
        samples["in_force"] = [
            ({"subject": effect.subject, "status": str(effect.status)}, "1") for effect in assessment.effects
        ]
    waivers = {verdict.control.id: verdict.waiver for verdict in assessment.verdicts if verdict.waiver}
    expiries = {name: waiver.expires for name, waiver in waivers.items() if waiver.expires}
    if expiries:
        samples["waiver_expiry_timestamp_seconds"] = [
            ({"id": name}, f"{_start_of(day) + _DAY:.0f}") for name, day in expiries.items()
        ]
    if choices.until:
        samples["stages_end_timestamp_seconds"] = _one(f"{_start_of(choices.until) + _DAY:.0f}")
    if choices.observes_since:
        samples["gate_observes_since_timestamp_seconds"] = _one(f"{_start_of(choices.observes_since):.0f}")
    if changes:
        samples["drift_controls"] = _numbers("change", changes)
    if undelivered is not None:
        samples["notification_undelivered"] = _one(int(undelivered))
    lines = [line for name in _GAUGES if name in samples for line in _gauge(name, samples[name])]
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def _start_of(day: str) -> float:
    return parse_timestamp(f"{day}T00:00:00Z")


def _one(value: object) -> list[Sample]:
    return [({}, str(value))]


def _numbers(label: str, counts: Mapping[Any, int]) -> list[Sample]:
    return [({label: str(value)}, str(count)) for value, count in counts.items()]


def _gauge(name: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP k3s_harden_{name} {_GAUGES[name]}"
    yield f"# TYPE k3s_harden_{name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"k3s_harden_{name}{{{shown}}} {value}" if shown else f"k3s_harden_{name} {value}"


def _escaped(value: str) -> str:
    value = value.encode("ascii", "backslashreplace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
