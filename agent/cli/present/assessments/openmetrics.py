"""An assessment as metrics that parsers of Prometheus and of OpenMetrics read.

The textfile collector of the node exporter takes it: samples have no timestamps, only types of both formats are used,
and the end mark of OpenMetrics is a comment in the format of Prometheus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.report import K3S_VERSION, ROLE
from agent.base.times import parse_timestamp
from agent.cli.present.assessments.common import fact, verdict_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from agent.assess.assessment import Assessment

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
    # A duplicate series would make the collector reject the whole file.
    open_controls = {
        verdict.control.id: {
            "id": verdict.control.id,
            "number": verdict_number(verdict),
            "status": str(verdict.status),
            "actor": str(verdict.owner),
        }
        for verdict in assessment.verdicts
        if verdict.is_open
    }
    expiries = {
        verdict.control.id: parse_timestamp(f"{verdict.waiver.expires}T00:00:00Z") + _DAY
        for verdict in assessment.verdicts
        if verdict.waiver and verdict.waiver.expires
    }
    beyond = assessment.counts("")
    lines = [
        *_gauge("info", "The assessed node and the version of k3s-harden; always 1.", [(about, "1")]),
        *_gauge(
            "assessment_timestamp_seconds",
            "Time of the assessment in seconds since the epoch.",
            _one(f"{assessment.when:.3f}"),
        ),
        *_gauge("controls", "Number of controls with each status.", _numbers("status", assessment.counts())),
        *_gauge(
            "controls_beyond_benchmark",
            "Number of those controls that the benchmark does not have.",
            _numbers("status", beyond),
        ),
        *_gauge(
            "control_open",
            "A control that failed or could not be determined; always 1, absent if it is not open.",
            [(labels, "1") for labels in open_controls.values()],
        ),
    ]
    if expiries:
        text = "Time at which the waiver of a control expires, in seconds since the epoch."
        samples: list[Sample] = [({"id": control}, f"{at:.0f}") for control, at in expiries.items()]
        lines += _gauge("waiver_expiry_timestamp_seconds", text, samples)
    choices = assessment.choices
    labels = {"profile": choices.profile, **choices.digests()}
    lines += _gauge("choices_info", "The profile, and digests of all waivers and stages; always 1.", [(labels, "1")])
    lines += _gauge(
        "left_open", "Number of failed controls that the settings do not choose.", _one(len(assessment.left_open))
    )
    lines += _gauge("waivers", "Number of waivers that apply to the node.", _one(choices.waived))
    lines += _gauge("stages", "Number of parts of the hardening that are postponed.", _one(choices.postponed))
    if choices.until:
        text = "Time at which the stages end, in seconds since the epoch."
        at = parse_timestamp(f"{choices.until}T00:00:00Z") + _DAY
        lines += _gauge("stages_end_timestamp_seconds", text, _one(f"{at:.0f}"))
    if choices.observes_since:
        text = "Time since which the gate observes, in seconds since the epoch."
        at = parse_timestamp(f"{choices.observes_since}T00:00:00Z")
        lines += _gauge("gate_observes_since_timestamp_seconds", text, _one(f"{at:.0f}"))
    differs = any(note.finding == "started-unhardened" for note in assessment.notes)
    text = "Whether K3s runs with other arguments than those that its gate judged."
    lines += _gauge("started_unhardened", text, _one(int(differs)))
    if changes:
        text = "Number of controls that changed since the previous assessment."
        lines += _gauge("drift_controls", text, _numbers("change", changes))
    if undelivered is not None:
        text = "Whether an earlier notification of the site was not delivered."
        lines += _gauge("notification_undelivered", text, _one(int(undelivered)))
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def _one(value: object) -> list[Sample]:
    return [({}, str(value))]


def _numbers(label: str, counts: Mapping[Any, int]) -> list[Sample]:
    return [({label: str(value)}, str(count)) for value, count in counts.items()]


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP k3s_harden_{name} {text}"
    yield f"# TYPE k3s_harden_{name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"k3s_harden_{name}{{{shown}}} {value}" if shown else f"k3s_harden_{name} {value}"


def _escaped(value: str) -> str:
    value = value.encode("ascii", "backslashreplace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
