"""An earlier JSON report of `assess`, and what differs from it. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from agent import __version__
from agent.assess.assessment import SCHEMA, Evidence, Note, Verdict
from agent.assess.checks.answer import LISTED_APART, ControlStatus
from agent.assess.provenance import MACHINE_ID_FACT, FileContent, sha256_of_report
from agent.base.errors import ExitCode, InputError
from agent.base.model import Location, StrEnum
from agent.base.repair import Instruction
from agent.base.report import ROLE, Trait
from agent.base.times import parse_timestamp
from agent.base.value import Value
from agent.findings import with_trait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.harden.situation import Situation
    from agent.k3s.cis.versions import Benchmark

_SCHEMAS = frozenset({1, 2, SCHEMA})
"""The schemas in which the keys that are read here are the same."""
_DAY = 86_400
_EXPECTED = Instruction("pass a report of `k3s-harden assess --format json`")


_CUT = r"(and )?\d+ more( are not shown)?"
"""The observation instead of those that a report leaves out."""


def places(evidence: Iterable[Evidence]) -> frozenset[str]:
    """Return the objects and files that evidence is about, each with what was observed; none if some are left out.

    Objects of K3s itself are listed apart.
    """
    found = [item for item in evidence if not item.observation.startswith(LISTED_APART)]
    if any(re.fullmatch(_CUT, item.observation) for item in found):
        return frozenset()
    located = ((item.cluster_object or (item.location and str(item.location.path)), item) for item in found)
    return frozenset(f"{place}: {item.observation}" for place, item in located if place)


def _earlier(verdict: Mapping[str, Any]) -> EarlierVerdict:
    evidence = map(_evidence, verdict["evidence"])
    return EarlierVerdict(
        str(verdict.get("title", "")),
        str(verdict.get("number", "")),
        ControlStatus(verdict["status"]),
        str(verdict.get("found", "")),
        tuple(f"{item.observation} ({item.location})" if item.location else item.observation for item in evidence),
    )


def _evidence(item: Mapping[str, Any]) -> Evidence:
    location = item["location"]
    where = Location(PurePosixPath(location["path"]), location.get("line")) if location else None
    return Evidence(str(item["observation"]), where, str(item["source"]), str(item.get("cluster_object", "")))


class OtherSchemaError(InputError):
    """A report of another version of this program, whose schema is different."""


class EarlierVerdict(Value):
    """What a report has about a control."""

    title: str
    number: str
    status: ControlStatus
    found: str
    evidence: tuple[str, ...]


class Baseline(Value):
    """An earlier report."""

    benchmark: str
    node: str
    when: float
    """Seconds since the epoch."""
    facts: Mapping[str, str]
    statuses: Mapping[str, ControlStatus]
    """By the id of the control."""
    known: Mapping[str, frozenset[str]]
    """The places of the controls that were open, by id, as `places` returns them; empty if they are not compared."""
    version: str
    """Of the program that wrote it."""
    verdicts: Mapping[str, EarlierVerdict]
    """By the id of the control."""
    file: FileContent
    gate: tuple[str, ...] = ()
    """The gaps in the gate."""
    is_verified: bool = False
    """Whether an allowed signer signed the file."""
    machine: str = ""
    """The id of the assessed machine, as provenance has it; empty if the report has none."""

    def require_use(self, machine: str, now: float, days: int, *, of_another: bool) -> None:
        """Raise InputError if the report is older than some days, or of another machine: it would hide failures."""
        location, age = Location(self.file.path), (now - self.when) / _DAY
        if age > days:
            found = f"the baseline is {age:.0f} days old, expected at most {days}"
            raise InputError(location, found, Instruction("write a new baseline, or pass --baseline-days DAYS"))
        if not of_another and (self.machine != machine or not machine):
            whose = f"of the machine {self.machine}" if self.machine else "of an unknown machine"
            found = f"the baseline is a report {whose}, expected {machine or 'a machine id, which this host lacks'}"
            hint = "write a baseline of this node; for a replaced machine or a host tree, pass --other-machine"
            raise InputError(location, found, Instruction(hint))

    @property
    def is_compliant(self) -> bool:
        """Return whether no control was open and the gate had no gap."""
        return not self.known and not self.gate


def parse_baseline(data: bytes, path: PurePosixPath) -> Baseline:
    """Parse a report. Raises InputError for an invalid one, and OtherSchemaError for an unsupported schema."""
    import json

    location = Location(path)
    try:
        report = json.loads(data)
        if report["schema"] not in _SCHEMAS:
            raise OtherSchemaError(location, f"its schema is {report['schema']!r}, expected {SCHEMA}", _EXPECTED)
        if "sha256" in report and report["sha256"] != sha256_of_report(report):
            raise InputError(location, "it was changed after it was written: its sha256 differs", _EXPECTED)
        statuses = {str(verdict["id"]): ControlStatus(verdict["status"]) for verdict in report["verdicts"]}
        counted = sum(report["counts"].values())
        if counted != len(statuses):
            # A control that was removed from the report would be one of a newer version, which does not fail a run.
            raise InputError(
                location, f"it is incomplete: found {len(statuses)} controls, expected {counted}", _EXPECTED
            )
        notes = report.get("notes", ())  # a report of the first schema can be without them
        return Baseline(
            file=FileContent(path, data, "baseline, not verified"),
            benchmark=str(report["benchmark"]),
            node=str(report["node"]),
            when=parse_timestamp(report["time"]),
            facts={str(fact["name"]): str(fact["value"]) for fact in report["facts"]},
            statuses=statuses,
            known={
                str(verdict["id"]): places(map(_evidence, verdict["evidence"]))
                for verdict in report["verdicts"]
                if verdict["is_open"]
            },
            version=str(report.get("version", "")),
            verdicts={str(verdict["id"]): _earlier(verdict) for verdict in report["verdicts"]},
            machine=next(
                (str(fact["value"]) for fact in report.get("provenance", ()) if fact["name"] == MACHINE_ID_FACT), ""
            ),
            gate=tuple(str(note["message"]) for note in notes if note.get("finding") in with_trait(Trait.GAP_IN_GATE)),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(location, "it is not a report of an assessment", _EXPECTED) from error


_ABSENT = EarlierVerdict("", "", ControlStatus.NOT_APPLICABLE, "not in the report", ())


class ChangeKind(StrEnum):
    """What happened to a control."""

    NEW = "new"
    """It is open, and was not."""
    FIXED = "fixed"
    """It was open, and is not."""
    CHANGED = "changed"
    """It has another status, value or evidence, and is open as before, or not open as before."""


class ComparedControl(NamedTuple):
    """A control that differs."""

    id: str
    kind: ChangeKind
    before: EarlierVerdict
    after: EarlierVerdict

    @property
    def added(self) -> list[str]:
        """The evidence that only the newer report has."""
        return [text for text in self.after.evidence if text not in self.before.evidence]

    @property
    def removed(self) -> list[str]:
        """The evidence that only the older report has."""
        return [text for text in self.before.evidence if text not in self.after.evidence]


class Comparison(NamedTuple):
    """Two reports."""

    old: Baseline
    new: Baseline

    @property
    def controls(self) -> list[ComparedControl]:
        """The controls that differ: first the new ones, then the fixed ones."""
        found = [
            ComparedControl(name, _kind(before, after), before, after)
            for name in dict.fromkeys((*self.new.verdicts, *self.old.verdicts))
            if (before := self.old.verdicts.get(name, _ABSENT)) != (after := self.new.verdicts.get(name, _ABSENT))
        ]
        return sorted(found, key=lambda control: [*ChangeKind].index(control.kind))

    @property
    def exit_code(self) -> ExitCode:
        """3 if a control is newly open."""
        is_worse = any(control.kind is ChangeKind.NEW for control in self.controls)
        return ExitCode.NOT_COMPLIANT if is_worse else ExitCode.COMPLIANT


def _kind(before: EarlierVerdict, after: EarlierVerdict) -> ChangeKind:
    if before.status.is_open == after.status.is_open:
        return ChangeKind.CHANGED
    return ChangeKind.NEW if after.status.is_open else ChangeKind.FIXED


_SIGN = "write the baseline with `--sign KEY`, and pass `--allowed-signers FILE` with it"


def not_installed(node: AssessedNode, verdicts: Iterable[Verdict]) -> Iterator[Note]:
    """Yield a note if there is no K3s on this host."""
    if not node.is_installed:
        defaults = sum(verdict.found.endswith(f"(default of K3s {node.facts.version})") for verdict in verdicts)
        message = (
            f"K3s is not installed: found no service, process or program; {defaults} controls pass only by defaults of"
            f" K3s {node.facts.version}"
        )
        yield Note.to_do(message, "assess again after the first start of K3s")


def not_asked(*, in_a_pod: bool) -> Iterator[Note]:
    """Yield a note about what a pod cannot read."""
    if in_a_pod:
        message = "assessed in a pod: systemd, and the processes behind open ports, could not be asked"
        yield Note.to_do(message, "for a full assessment, run `k3s-harden assess` on the node")


def of_stages(situation: Situation, settings_file: PurePosixPath) -> Iterator[Note]:
    """Yield a note for each part of the hardening that the settings postpone."""
    for stage in situation.stages:
        if not stage.is_over(situation.waivers.scope.today):
            yield Note(f"postponed until {stage.until}: {stage}", Location(settings_file))


def known_controls(earlier: Baseline, verdicts: Iterable[Verdict]) -> frozenset[str]:
    """Return the controls that are open as in a baseline: at the same objects and files, or at fewer of them.

    Another version of this program can observe the same in other words.
    """

    def is_known(verdict: Verdict) -> bool:
        known = earlier.known.get(verdict.control.id)
        is_compared = known and earlier.version == __version__ and not verdict.control.check.is_decided_by_argument
        return known is not None and (not is_compared or places(verdict.evidence) <= known)

    return frozenset(verdict.control.id for verdict in verdicts if is_known(verdict))


def new_controls(earlier: Baseline, controls: Iterable[BenchmarkControl], benchmark: Benchmark) -> frozenset[str]:
    """Return the controls that this program has, and the version that wrote the baseline had not.

    A benchmark's controls are compared only with a baseline on the same benchmark.
    """
    is_same = earlier.benchmark == benchmark
    absent = (control for control in controls if control.id not in earlier.statuses)
    return frozenset(control.id for control in absent if is_same or not control.numbers)


def differences(
    earlier: Baseline, node: AssessedNode, controls: Iterable[BenchmarkControl], benchmark: Benchmark
) -> Iterator[Note]:
    """Yield notes about a baseline of another node, role, benchmark or version."""
    if not earlier.is_verified:
        message = f"the baseline {earlier.file.path} is not verified: who can write it decides what fails"
        yield Note.to_do(message, _SIGN)
    added = new_controls(earlier, controls, benchmark)
    if added:
        message = f"the baseline is of an older version without these controls: {', '.join(sorted(added))}"
        yield Note.to_do(message, "write a new baseline, so that they decide the exit code")
    others = []
    if earlier.node != node.evidence.node:
        others.append(f"the baseline is a report of {earlier.node or 'a node without a name'}")
    role = earlier.facts.get(ROLE, "")
    if role not in ("", node.facts.role):
        own = node.facts.role
        others.append(f"the baseline is a report of a node with the role {role}; this one has the role {own}")
    if earlier.benchmark != benchmark:
        others.append(f"the baseline is a report on {earlier.benchmark}; controls that it does not have count as new")
    yield from (Note.to_do(message, "use a baseline of this node and benchmark") for message in others)
