"""An assessment: a verdict for each control, with its evidence, and what the site chose. It has the exit code."""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.checks.answer import ControlStatus, Evidence
from agent.base.errors import ExitCode
from agent.base.repair import NO_REPAIR, FixOwner, Instruction, Repair
from agent.base.value import Value
from agent.harden.settings.profiles import PRESETS
from agent.harden.settings.schema import Profile, setting_rows
from agent.k3s.cis.versions import Assessed

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.answer import Effect
    from agent.assess.provenance import Provenance
    from agent.base.model import Location
    from agent.base.report import Fact, NextStep
    from agent.harden.situation import Situation
    from agent.k3s.cis.versions import Benchmark, Number


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
    in_force: ControlStatus | None = None
    """Whether what the running node shows agrees with the configuration; None if nothing shows it."""

    @property
    def section(self) -> str:
        """The number of its section in the benchmark; empty if no benchmark has the control."""
        return self.number.section if self.number else ""

    @property
    def is_open(self) -> bool:
        """Whether the control still needs a fix, or could not be determined."""
        return self.status.is_open

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
    by_rules: tuple[Verdict, ...] = ()
    """The verdicts on the controls of which a rule of the STIG requires less than the benchmark."""

    @cached_property
    def open(self) -> tuple[Verdict, ...]:
        """The verdicts that decide the exit code: with a baseline, only the newly open ones."""
        known = (self.known or frozenset()) | self.not_in_baseline
        return tuple(verdict for verdict in self.verdicts if verdict.is_open and verdict.control.id not in known)

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
        by_section = self._statuses_by_section
        inside = [*chain(*by_section.values())] if section is None else by_section.get(section, [])
        return {status: inside.count(status) for status in ControlStatus}

    @cached_property
    def _statuses_by_section(self) -> dict[str, list[ControlStatus]]:
        found: dict[str, list[ControlStatus]] = {}
        for verdict in self.verdicts:
            found.setdefault(verdict.section, []).append(verdict.status)
        return found

    @property
    def benchmark_counts(self) -> dict[ControlStatus, int]:
        """The number of the benchmark's controls with each status."""
        beyond = self.counts("")
        return {status: count - beyond[status] for status, count in self.counts().items()}
