"""Waivers of a site that apply to an assessment, and notes about the others.

A waiver by CIS number means the control with that number in the assessed benchmark. Numbers change between versions,
so a note warns if the number has another meaning in another version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from agent.assess.assessment import ControlStatus, Note, Waiver
from agent.assess.benchmark.catalogue import controls_named
from agent.assess.benchmark.control import BenchmarkControl
from agent.base.repair import Instruction, Repair
from agent.base.value import Value
from agent.harden.guide.controls import CONTROLS
from agent.harden.settings.waivers import SiteWaiver, WaiverNeeds, WaiverScope
from agent.k3s.cis.versions import Benchmark

_NOT_OPEN = frozenset({ControlStatus.PASS, ControlStatus.NOT_APPLICABLE})


class Selection(Value):
    """The waivers of one assessment."""

    by_control: Mapping[str, Waiver]
    """The waiver that applies to a control, by its id."""
    notes: tuple[Note, ...]
    """Notes about waivers that do not apply."""
    targets: tuple[tuple[SiteWaiver, tuple[str, ...]], ...]
    """Each waiver that applies, with the ids of its controls."""

    def unused(self, statuses: Mapping[str, ControlStatus]) -> tuple[Note, ...]:
        """Return notes about waivers whose controls are not open, given the status of each control by id."""
        found = []
        for waiver, ids in self.targets:
            if waiver.stage:
                continue
            present = {statuses[name] for name in ids if name in statuses}
            if present and present <= _NOT_OPEN:
                text = " and ".join(sorted(map(str, present)))
                message = f"the waiver for {waiver.control} is not needed: the status is {text}"
                found.append(_note(waiver, message, "remove the waiver, so that it does not hide a later failure"))
        return tuple(found)


def select_waivers(
    waivers: Iterable[SiteWaiver],
    controls: Iterable[BenchmarkControl],
    benchmark: Benchmark,
    scope: WaiverScope,
    needs: WaiverNeeds | None = None,
) -> Selection:
    """Return the waivers for these controls of this benchmark; the first of several for one control.

    Notes are about waivers that have expired or apply for longer than `needs` allows, that match no control, and whose
    number is ambiguous.
    """
    assessed = {control.id for control in controls}
    by_control: dict[str, Waiver] = {}
    targets: list[tuple[SiteWaiver, tuple[str, ...]]] = []
    notes: list[Note] = []
    expired: list[tuple[SiteWaiver, tuple[str, ...]]] = []
    for waiver in filter(scope.includes, waivers):
        matches, note = _matches(waiver, benchmark)
        ids = tuple(control.id for control in matches if control.id in assessed)
        if note is not None:
            notes.append(note)
        if needs is not None and needs.is_too_late(waiver.expires, scope.today):
            message = (
                f"the waiver for {waiver.control} applies until {waiver.expires}, which `waivers-must` does not allow"
            )
            step = f"set `expires` to a day within {needs.expire_within} days"
            notes += [] if waiver.stage else [_note(waiver, message, step)]  # the finding stage-too-long
        elif scope.is_expired(waiver):
            expired += [(waiver, ids)] if matches and not waiver.stage else []
        else:
            targets.append((waiver, ids))
            for name in ids:
                by_control.setdefault(name, Waiver(waiver.reason, waiver.expires, waiver.location, waiver.approved_by))
    for waiver, ids in expired:
        if not by_control.keys() & set(ids):
            message = f"the waiver for {waiver.control} expired at the end of {waiver.expires}"
            notes.append(_note(waiver, message, "fix the control, or set a new date"))
    return Selection(by_control, tuple(notes), tuple(targets))


def _matches(waiver: SiteWaiver, benchmark: Benchmark) -> tuple[Sequence[BenchmarkControl], Note | None]:
    """Return the controls that a waiver names, and a note about how it names them."""
    text = waiver.control
    anywhere = controls_named(text)
    if not anywhere:
        if any(control.id == text for control in CONTROLS):
            return (), None  # the gate uses waivers of controls that only the guide has
        message = f"the waiver for {text} matches no control of any benchmark"
        return (), _note(waiver, message, "use an id from a report of `k3s-harden assess`")
    if not re.fullmatch(r"[\d.]+", text):
        return anywhere, None
    here = [control for control in anywhere if benchmark in control.numbers and control.numbers[benchmark].text == text]
    if not here:
        message = f"the waiver for {text} matches no control of {benchmark}"
        return here, _note(waiver, message, f"write {_ids(anywhere)}, which has this number in other versions")
    if len(anywhere) > len(here):
        message = f"the waiver for {text} means {_ids(here)} in {benchmark}, and another control in other versions"
        return here, _note(waiver, message, f"write {_ids(here)}, which does not change between versions")
    return here, None


def _note(waiver: SiteWaiver, message: str, step: str) -> Note:
    return Note(message, waiver.location, Repair((Instruction(step),)))


def _ids(controls: Iterable[BenchmarkControl]) -> str:
    return " or ".join(control.id for control in controls)
