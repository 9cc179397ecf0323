"""An assessment: a verdict for each control, with its evidence, and what the site chose. It has the exit code."""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.checks.answer import ControlStatus, Effect, Evidence
from agent.base.errors import ExitCode
from agent.base.repair import NO_REPAIR, FixOwner, Instruction, Repair
from agent.base.value import Value
from agent.harden.settings.profiles import PRESETS
from agent.harden.settings.schema import Profile, setting_rows
from agent.k3s.cis.versions import Assessed, Benchmark, Number

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.provenance import Provenance
    from agent.base.model import Location
    from agent.base.report import Fact, NextStep
    from agent.harden.situation import Situation


class SiteChoices(NamedTuple):
    """What a site chose for a host."""

    profile: str = Profile.GUIDE.value
    waived: int = 0
    """Waivers that apply to this host."""
    postponed: int = 0
    """Parts that a stage postpones on this host."""
    until: str = ""
    """The last day of the stages, YYYY-MM-DD in UTC; empty without a stage."""
    waivers: tuple[str, ...] = ()
    """All waivers of the settings, also those of other hosts: the servers of a cluster need the same."""
    stages: tuple[str, ...] = ()
    not_chosen: frozenset[str] = frozenset()
    """Keys of the settings with their default values, which leave their controls open."""
    set_by_strict: frozenset[str] = frozenset()
    """Those of them that the profile strict sets; empty with that profile."""
    waived_until: str = ""
    """The last day of the applying waiver that ends first; empty if none ends."""
    observes_since: str = ""
    """The day since which the gate observes; empty if it blocks an unhardened K3s."""

    def digests(self) -> dict[str, str]:
        """Return the first 16 digits of the SHA-256 of all waivers, and of all stages."""
        from hashlib import sha256

        texts = {"waivers": self.waivers, "stages": self.stages}
        return {name: sha256("\n".join(lines).encode()).hexdigest()[:16] for name, lines in texts.items()}


def choices_of(situation: Situation) -> SiteChoices:
    """Return what the settings of a host chose."""
    settings, waivers, stages = situation.settings, situation.waivers, situation.stages
    not_chosen = frozenset(row.key for row in setting_rows() if not row.differs_from_default(settings))
    stricter = PRESETS[Profile.STRICT] if settings.profile is not Profile.STRICT else ()
    applying = [waiver for waiver in waivers.all if waivers.scope.applies(waiver)]
    return SiteChoices(
        settings.profile.value,
        len(applying),
        len(stages),
        settings.stages_until or "" if stages else "",
        tuple(sorted(f"{waiver}; {waiver.role or 'all'}; {waiver.host}" for waiver in waivers.all)),
        tuple(f"{stage}; {stage.until}" for stage in stages),
        not_chosen,
        not_chosen.intersection(preset.setting for preset in stricter),
        min((waiver.expires for waiver in applying if waiver.expires), default=""),
        situation.gate.exceptions.observes_since,
    )


__all__ = ["SCHEMA", "Assessment", "ControlStatus", "Evidence", "Note", "Verdict", "Waiver"]

SCHEMA = 3
"""The version of an assessment's JSON (docs/reference/assessment.schema.json); it changes with the shape."""

CLUSTER_NOT_ASSESSED = "the cluster was not assessed"
"""The start of the note about an API server that did not answer."""


class Waiver(NamedTuple):
    """Why the site accepts that a control is open."""

    reason: str
    expires: str
    """The last day on which it is valid, as YYYY-MM-DD; empty if it does not expire."""
    location: Location | None
    approved_by: str = ""

    @property
    def expiry(self) -> str:
        """When it expires, in words."""
        return f"expires {self.expires}" if self.expires else "does not expire"

    @property
    def line(self) -> str:
        """The waiver as one line."""
        approval = f"approved by {self.approved_by}" if self.approved_by else ""
        return f"{self.reason} ({', '.join(filter(None, (approval, self.expiry, str(self.location or ''))))})"


class Verdict(NamedTuple):
    """The result of one control on one host."""

    control: BenchmarkControl
    number: Number | None
    """None if the benchmark does not have the control."""
    status: ControlStatus
    expected: str
    found: str
    evidence: tuple[Evidence, ...]
    reason: str
    """Why it is not applicable, unknown or needs a person."""
    repair: Repair
    """What to do if the control is open, or needs a person."""
    waiver: Waiver | None = None
    met_by: FixOwner = FixOwner.NONE
    """Who meets the control that passes."""
    awaits_start: bool = False
    """Whether K3s has to start before there is evidence."""
    awaits_correction_of: Location | None = None
    """The file, or line of it, that has to be corrected before there is evidence."""
    is_reviewed: bool = False
    """Whether the waiver is the result of a person's review of a manual control."""
    configured: ControlStatus | None = None
    """The status by the configuration alone, without a waiver."""
    in_force: ControlStatus | None = None
    """Whether what the running node shows meets the control; None if nothing shows it."""

    @property
    def mark(self) -> str:
        """The status by the configuration, and by what the running node shows if anything does."""
        parts = {"configured": self.configured, "in force": self.in_force}
        return ", ".join(f"{name}: {status}" for name, status in parts.items() if status) if self.in_force else ""

    @property
    def shown_number(self) -> str:
        """Its number in the benchmark; empty if it has none."""
        return self.number.text if self.number else ""

    @property
    def section(self) -> str:
        """The number of its section in the benchmark; empty if no benchmark has the control."""
        return self.number.section if self.number else ""

    @property
    def is_open(self) -> bool:
        """Whether the control still needs a fix, or could not be determined."""
        return self.status.is_open

    @property
    def values(self) -> dict[str, str]:
        """The expected and the found value and the reason, by name, without those that are empty."""
        values = {"expected": self.expected, "found": self.found, "reason": self.reason}
        return {name: value for name, value in values.items() if value}

    @property
    def accepted(self) -> str:
        """The waiver as one line; empty without one."""
        return self.waiver.line if self.waiver else ""

    @property
    def is_scored(self) -> bool:
        """Whether the benchmark counts a failure."""
        return self.number is None or self.number.assessed is Assessed.AUTOMATED

    @property
    def owner(self) -> FixOwner:
        """Who meets the control that passes, and otherwise the owner of the fix."""
        return self.met_by if self.status is ControlStatus.PASS else self.repair.owner


class Note(NamedTuple):
    """A note about the assessment itself, such as an unused waiver."""

    message: str
    location: Location | None = None
    repair: Repair = NO_REPAIR
    finding: str = ""
    """The id of the finding that the note is about; empty if it is about none."""
    prevents_start: bool = False
    """Whether K3s fails at its next start for this reason."""

    @classmethod
    def to_do(cls, message: str, step: str) -> Note:
        """Return a note about no location with one step."""
        return cls(message, None, Repair((Instruction(step),)))


class Assessment(Value):
    """One host assessed against one benchmark."""

    benchmark: Benchmark
    node: str
    when: float
    """Seconds since the epoch."""
    facts: tuple[Fact, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[Note, ...] = ()
    known: frozenset[str] | None = None
    """The ids of the controls that were open in the baseline, and are at no other place; None without a baseline."""
    not_in_baseline: frozenset[str] = frozenset()
    """The ids of the controls that the baseline does not have. They do not decide the exit code."""
    without_answer: frozenset[str] = frozenset()
    """The IDs of the controls for which the API server was queried and did not answer."""
    root: str = ""
    """The root directory of a host tree; empty for this machine."""
    provenance: Provenance | None = None
    next_steps: tuple[NextStep, ...] = ()
    """What to do next, the most urgent step first."""
    choices: SiteChoices = SiteChoices()
    effects: tuple[Effect, ...] = ()
    """What is in force on the running node; none unless the cluster was assessed."""
    broken: int | None = None
    """The number of objects of the cluster that the hardening breaks; None if it is not known."""
    by_rules: tuple[Verdict, ...] = ()
    """The verdicts on the controls of which a rule of the STIG requires less than the benchmark."""

    @cached_property
    def all_open(self) -> tuple[Verdict, ...]:
        """The verdicts that are open, those that a baseline accepts included."""
        return tuple(verdict for verdict in self.verdicts if verdict.is_open)

    @cached_property
    def open(self) -> tuple[Verdict, ...]:
        """The verdicts that decide the exit code: with a baseline, only the newly open ones."""
        return tuple(filter(self.is_new, self.all_open))

    @property
    def open_by_owner(self) -> dict[FixOwner, list[Verdict]]:
        """The open controls by the owner of their fix; an owner without open controls is left out."""
        by_owner = {owner: [verdict for verdict in self.all_open if verdict.owner is owner] for owner in FixOwner}
        return {owner: left for owner, left in by_owner.items() if left}

    def is_in_baseline(self, verdict: Verdict) -> bool:
        """Return whether a control is open and was open in the baseline."""
        return verdict.is_open and verdict.control.id in (self.known or ())

    def is_added(self, verdict: Verdict) -> bool:
        """Return whether a control is open, and the baseline does not have it."""
        return verdict.is_open and verdict.control.id in self.not_in_baseline

    def is_new(self, verdict: Verdict) -> bool:
        """Return whether a control decides the exit code: open, and not accepted by a baseline."""
        return verdict.is_open and not (self.is_in_baseline(verdict) or self.is_added(verdict))

    @cached_property
    def left_open(self) -> frozenset[str]:
        """The IDs of the controls that failed because the site did not choose their settings."""
        return self._failed_by(self.choices.not_chosen)

    @property
    def closed_by_strict(self) -> frozenset[str]:
        """The IDs of those that the profile strict closes."""
        return self._failed_by(self.choices.set_by_strict)

    def _failed_by(self, settings: frozenset[str]) -> frozenset[str]:
        failed = (verdict.control for verdict in self.verdicts if verdict.status is ControlStatus.FAIL)
        return frozenset(control.id for control in failed if control.setting in settings)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code by the table in errors.ExitCode: 3 if a control is open."""
        return ExitCode.NOT_COMPLIANT if self.open else ExitCode.COMPLIANT

    def counts(self, section: str | None = None) -> dict[ControlStatus, int]:
        """Return the number of controls with each status, in all sections or in one; "" is beyond the benchmark."""
        statuses = [
            verdict.status for verdict in (self.verdicts if section is None else self.sections.get(section, ()))
        ]
        return {status: statuses.count(status) for status in ControlStatus}

    @cached_property
    def sections(self) -> dict[str, list[Verdict]]:
        """The verdicts by section, in the order of their numbers; those without a number are last."""

        def order(verdict: Verdict) -> tuple[bool, list[int]]:
            parts = verdict.shown_number.split(".")
            return verdict.number is None, [int(part) for part in parts if part.isdecimal()]

        found: dict[str, list[Verdict]] = {}
        for verdict in sorted(self.verdicts, key=order):
            found.setdefault(verdict.section, []).append(verdict)
        return found

    @property
    def in_order(self) -> list[Verdict]:
        """The verdicts in the order of the sections."""
        return [*chain(*self.sections.values())]

    def fact(self, name: str) -> str:
        """Return the value of a fact; empty if it is not known."""
        return next((fact.value for fact in self.facts if fact.name == name), "")

    @property
    def all_facts(self) -> tuple[Fact, ...]:
        """The facts about the host, and then who made the assessment and from what."""
        return (*self.facts, *(self.provenance.facts() if self.provenance else ()))

    @property
    def benchmark_counts(self) -> dict[ControlStatus, int]:
        """The number of the benchmark's controls with each status."""
        beyond = self.counts("")
        return {status: count - beyond[status] for status, count in self.counts().items()}
