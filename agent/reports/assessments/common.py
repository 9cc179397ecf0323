"""Texts and order that the output formats of an assessment share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, TypeVar

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Verdict
from agent.assess.benchmark.catalogue import SECTIONS
from agent.base.repair import FixOwner
from agent.base.report import K3S_VERSION, ROLE
from agent.base.value import Row, Value
from agent.reports import repair_texts
from agent.reports.formats import Verbosity
from agent.reports.text import count_of, printable

_T = TypeVar("_T")


class Awaiting(Value):
    """Controls that wait for the same event, which reports sum up in one entry."""

    ids: tuple[str, ...]
    sentence: str
    fix: str

    @property
    def line(self) -> str:
        """The entry as one line, whose third word has the ids."""
        return f"{ControlStatus.UNKNOWN} - {','.join(self.ids)}: {self.sentence}; {repair_texts.labelled(self.fix)}"


UNNUMBERED = "host"
"""Name of the section of controls beyond the benchmark, in formats that require one."""
_FEW = 5
"""Evidence shown without -v: thousands of files can fail for the same reason."""


def cleaned(value: _T) -> _T:
    """Return an assessment, or a part of it, without secrets and with the control characters of its texts as escapes.

    Paths and contents of the host are untrusted. The result is also valid in XML and has no lone surrogates. Rows of
    tables are parts of this program.
    """
    clean: Any = value
    if isinstance(value, str) and not isinstance(value, Enum):
        clean = printable(value)
    elif isinstance(value, PurePosixPath):
        clean = PurePosixPath(printable(str(value)))
    elif hasattr(value, "_fields") and not isinstance(value, Row):
        clean = type(value)(*(cleaned(getattr(value, name)) for name in value._fields))
    elif isinstance(value, (tuple, frozenset, list)):
        clean = type(value)(map(cleaned, value))
    elif isinstance(value, dict):
        clean = {cleaned(key): cleaned(inner) for key, inner in value.items()}
    return clean  # type: ignore[no-any-return] # of the type of value


def shown_verdicts(assessment: Assessment, verbosity: Verbosity, groups: Iterable[Awaiting]) -> list[Verdict]:
    """Return the verdicts in order that formats for people show, without those of `groups`.

    -q shows only controls that decide the exit code; -v adds all others.
    """
    waiting = {name for group in groups for name in group.ids}

    def is_shown(verdict: Verdict) -> bool:
        if verbosity is Verbosity.QUIET:
            return assessment.is_new(verdict)
        return verbosity is Verbosity.VERBOSE or verdict.is_open or verdict.status is ControlStatus.WAIVED

    verdicts = (verdict for verdict in assessment.in_order if verdict.control.id not in waiting)
    return list(filter(is_shown, verdicts))


def section_title(number: str) -> str:
    """Return number and title of a section."""
    return f"{number} {SECTIONS.get(number, '')}".strip()


def assessment_title(assessment: Assessment) -> str:
    """Return the first line: benchmark, node, role and K3s version."""
    about = (assessment.fact(name) for name in (ROLE, K3S_VERSION))
    return f"k3s-harden assess: {', '.join(filter(None, (str(assessment.benchmark), assessment.node, *about)))}"


def assessment_result(assessment: Assessment) -> str:
    """Return the last line: the number of open controls with each status, then that of the others."""
    beyond = sum(verdict.number is None for verdict in assessment.open)
    text = _open(assessment, f", {beyond} of them beyond the benchmark" if beyond else "")
    others = _not_open(assessment.counts(""))
    return f"{text}{f'; beyond the benchmark {others}' if others else ''}.{_left_open(assessment)}"


def short_result(assessment: Assessment) -> str:
    """Return the last line without the controls beyond the benchmark that are not open, to fit 80 columns."""
    return f"{_open(assessment)}.{_left_open(assessment)}"


def _left_open(assessment: Assessment) -> str:
    """Return how many controls the profile leaves open, and what closes them; empty if no other profile does."""
    left, closed = len(assessment.left_open), len(assessment.closed_by_strict)
    closes = f"`profile: strict` closes {'them' if left == closed else f'{closed} of them'}"
    return f" The profile {assessment.choices.profile} leaves {left} open; {closes}." if closed else ""


def _open(assessment: Assessment, beyond: str = "") -> str:
    new = assessment.open
    known = [verdict for verdict in assessment.verdicts if assessment.is_in_baseline(verdict)]
    kind = "open" if assessment.known is None else "new open"
    text = f"{count_of(len(new), f'{kind} control', 'No')}{_by_status(new)}{beyond}"
    text += f", {len(known)} in the baseline{_by_status(known)}" if known else ""
    added = [verdict for verdict in assessment.verdicts if assessment.is_added(verdict)]
    text += f", {len(added)} that the baseline does not have{_by_status(added)}" if added else ""
    others = _not_open(assessment.benchmark_counts)
    return f"{text}; {others}" if others else text


def _not_open(counts: Mapping[ControlStatus, int]) -> str:
    return in_numbers({status: count for status, count in counts.items() if not status.is_open})


def _by_status(verdicts: Iterable[Verdict]) -> str:
    statuses = [verdict.status for verdict in verdicts]
    numbers = in_numbers({status: statuses.count(status) for status in ControlStatus})
    return f" ({numbers})" if numbers else ""


def in_numbers(counts: Mapping[ControlStatus, int]) -> str:
    """Return the number of controls with each status, without zeros."""
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def awaiting(assessment: Assessment, verbosity: Verbosity) -> list[Awaiting]:
    """Return the controls that wait for the same event, such as K3s' first start; none with -v.

    Controls wait for the same event if they are UNKNOWN and have the same remediation.
    """
    if verbosity is Verbosity.VERBOSE:
        return []
    groups: dict[str, list[Verdict]] = {}
    for verdict in assessment.open:
        if _awaited(verdict):
            groups.setdefault(verdict_fix(verdict), []).append(verdict)
    # For one control, the line adds nothing.
    return [
        Awaiting(tuple(verdict.control.id for verdict in group), f"{len(group)} controls {_awaited(group[0])}", text)
        for text, group in groups.items()
        if len(group) > 1
    ]


def _awaited(verdict: Verdict) -> str:
    """Return what several controls like this one wait for; empty if they wait for no event."""
    if verdict.awaits_start:
        return "are determined after K3s starts"
    location = verdict.awaits_correction_of
    return f"cannot be determined until {location} is corrected" if location else ""


def baseline_mark(assessment: Assessment, verdict: Verdict) -> str:
    """Return why an open control does not decide the exit code; empty if it does, or is not open."""
    if assessment.is_in_baseline(verdict):
        return "in the baseline"
    return "new control, not in the baseline" if assessment.is_added(verdict) else ""


def manual_reviews(assessment: Assessment) -> str:
    """Return how many controls require manual review, for reports without them; empty if there are none."""
    count = assessment.counts()[ControlStatus.MANUAL]
    return f"{count} control{'s require' if count > 1 else ' requires'} manual review; -v shows each" if count else ""


def owner_name(owner: FixOwner) -> str:
    """Return the name of an owner for people."""
    return "K3s" if owner is FixOwner.K3S else str(owner)


def verdict_fix(verdict: Verdict) -> str:
    """Return a verdict's remediation as one line."""
    return repair_texts.text(verdict.repair)


def few(evidence: Sequence[Evidence]) -> tuple[Sequence[Evidence], str]:
    """Return the first pieces of evidence, and a text with the number of the others."""
    left = len(evidence) - _FEW
    return evidence[:_FEW], f"and {left} more" if left > 0 else ""


def noted(note: Note) -> str:
    """Return a note as one line."""
    parts = (
        note.message,
        f"location {note.location}" if note.location else "",
        repair_texts.labelled(repair_texts.text(note.repair)),
    )
    return "; ".join(filter(None, parts))
