"""What an assessment found: a verdict for each control, with the evidence that decided it; the exit code follows."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import ExitCode

if TYPE_CHECKING:
    from agent.benchmark.control import BenchmarkControl, Number
    from agent.benchmark.versions import Benchmark
    from agent.report import Fact


SCHEMA = 1
"""The shape of an assessment as JSON (docs/reference/assessment.schema.json); a change of shape is a new number."""

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""How a report writes a time: as RFC 3339 does, in UTC and to the second."""


class ControlStatus(str, Enum):
    """How it stands with a control. Without evidence it is unknown, never passed."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    WAIVED = "WAIVED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    MANUAL = "MANUAL"
    UNKNOWN = "UNKNOWN"

    def __str__(self) -> str:
        return self.value

    @property
    def is_open(self) -> bool:
        """Whether something is left to do or to find out."""
        return self in (ControlStatus.FAIL, ControlStatus.UNKNOWN)


class Actor(str, Enum):
    """Who brings a control about: this program, the operator by hand, K3s by what it does anyway, or nobody."""

    APPLY = "k3s-harden apply"
    OPERATOR = "operator"
    K3S = "K3s"
    NOBODY = "nobody"

    def __str__(self) -> str:
        return self.value


class Evidence(NamedTuple):
    """One thing that was seen, and where: a path, "path:line", or what K3s itself does in a version."""

    what: str
    where: str


class Waiver(NamedTuple):
    """Why a failing control is put up with. `expires` is a date as YYYY-MM-DD, the last day it counts; "" for never."""

    reason: str
    expires: str
    where: str


class Verdict(NamedTuple):
    """How it stands with one control on one host.

    `number` is None for what the benchmark does not have. `wanted` and `found` are in words, `reason` says why it is
    not applicable, unknown or for a person. `remedy` is what to do if it fails, with the exact text to put where.
    """

    control: BenchmarkControl
    number: Number | None
    status: ControlStatus
    wanted: str
    found: str
    evidence: tuple[Evidence, ...]
    reason: str
    actor: Actor
    remedy: str
    waiver: Waiver | None = None

    @property
    def section(self) -> str:
        """The number of its section in the benchmark, "" for what no benchmark has."""
        return self.number.section if self.number else ""

    @property
    def is_open(self) -> bool:
        """Whether something is left to do or to find out."""
        return self.status.is_open


class Notice(NamedTuple):
    """Something to know of the assessment itself, such as a waiver that nothing needed. `where` may be empty."""

    message: str
    where: str
    remedy: str


class Assessment(NamedTuple):
    """One host against one benchmark. `when` is in seconds since the epoch.

    `known` has the ids of controls that were open in the report it is compared with; None without one.
    """

    benchmark: Benchmark
    node: str
    when: float
    facts: tuple[Fact, ...]
    verdicts: tuple[Verdict, ...]
    notices: tuple[Notice, ...] = ()
    known: frozenset[str] | None = None

    @property
    def open(self) -> tuple[Verdict, ...]:
        """The verdicts that make the exit code: with something to compare with, only those that are new."""
        known = self.known or frozenset()
        return tuple(verdict for verdict in self.verdicts if verdict.is_open and verdict.control.id not in known)

    @property
    def exit_code(self) -> ExitCode:
        """By the table in errors.ExitCode: 3 where something failed or could not be told."""
        return ExitCode.NOT_COMPLIANT if self.open else ExitCode.COMPLIANT

    def counts(self, section: str | None = None) -> dict[ControlStatus, int]:
        """How many controls have each status, in all or in one section."""
        inside = [verdict.status for verdict in self.verdicts if section in (None, verdict.section)]
        return {status: inside.count(status) for status in ControlStatus}
