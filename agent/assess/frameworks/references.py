"""Rules of the Kubernetes STIG and controls of NIST SP 800-53, and the controls here that they refer to.

stig.txt has the 92 rules of DISA's Kubernetes STIG, Version 2, Release 6, without its check and fix texts. `severity`
is medium if it is missing. `decided` is a member of Decision, HERE if it is missing; the minor version after
not-applicable is the first to which the rule does not apply. cci.tsv has DISA's assignment of each CCI to NIST SP
800-53 revision 5. docs/adr/0041 names the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from agent.assess.benchmark import catalogue
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.file_modes import accepting
from agent.base import package_data
from agent.base.model import FileMode, StrEnum
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark

STIG_TITLE = "Kubernetes Security Technical Implementation Guide"
STIG_RELEASE = "Release: 6 Benchmark Date: 01 Apr 2026"


class Decision(StrEnum):
    """Who decides a rule of the STIG on a K3s node."""

    HERE = "here"
    """The controls of the rule."""
    SITE = "site"
    """A person. A control of the rule that fails opens the rule."""
    NOT_APPLICABLE = "not-applicable"
    NOT_COVERED = "not-covered"
    """A person, because nothing here looks for it."""


class StigRule(NamedTuple):
    """A rule of the Kubernetes STIG."""

    id: str
    """The number of the vulnerability, such as V-242376."""
    rule_id: str
    """The number with the revision of the rule's text."""
    version: str
    group: str
    """The requirement of the Container Platform SRG."""
    severity: str
    ccis: tuple[str, ...]
    title: str
    decision: Decision
    not_applicable_from: int
    controls: tuple[str, ...]
    note: str
    """The reason of the decision, or how the controls differ from the rule."""
    of_servers: bool = False
    """Whether it is about components that only a server runs."""
    mode: str = ""
    """The mode of files that it accepts, if a benchmark requires a stricter one."""

    @property
    def category(self) -> str:
        """The severity as a category."""
        return {"high": "CAT I", "medium": "CAT II"}.get(self.severity, "CAT III")

    @property
    def nist(self) -> tuple[str, ...]:
        """The controls of NIST SP 800-53 that the CCIs of the rule belong to."""
        return tuple(dict.fromkeys(_of_ccis()[cci] for cci in self.ccis if cci in _of_ccis()))


class References(NamedTuple):
    """What a control refers to."""

    stig: tuple[str, ...]
    nist: tuple[str, ...]


@cache
def stig_rules() -> tuple[StigRule, ...]:
    """Return all rules of the Kubernetes STIG by number."""
    return tuple(map(_rule, package_data.records("assess", "frameworks", "stig.txt")))


def _rule(row: Mapping[str, str]) -> StigRule:
    decision, _, first = row.get("decided", Decision.HERE).partition(" ")
    return StigRule(
        row["id"][1:].partition("r")[0],
        row["id"],
        row["version"],
        row["group"],
        row.get("severity", "medium"),
        tuple(row["cci"].split()),
        row["title"],
        Decision(decision),
        int(first or 0),
        tuple(row.get("controls", "").split()),
        row.get("note", ""),
        row.get("runs-on", "") == "servers",
        row.get("mode", ""),
    )


@cache
def _of_ccis() -> Mapping[str, str]:
    return {row[0]: row[1] for row in package_data.rows("assess", "frameworks", "cci.tsv")}


def nist_controls() -> tuple[str, ...]:
    """Return the controls of NIST SP 800-53 that a rule of the STIG belongs to, in the order of the catalog."""
    return tuple(dict.fromkeys(_of_ccis().values()))


@cache
def _rules_of() -> Mapping[str, list[StigRule]]:
    found: dict[str, list[StigRule]] = {}
    for rule in stig_rules():
        for control in rule.controls:
            found.setdefault(control, []).append(rule)
    return found


def references_of(control: str) -> References:
    """Return the rules of the STIG that a control decides or opens, and their controls of NIST SP 800-53."""
    rules = _rules_of().get(control, [])
    nist = dict.fromkeys(name for rule in rules for name in rule.nist)
    return References(tuple(rule.id for rule in rules), tuple(nist))


def further_controls(benchmark: Benchmark) -> Iterable[BenchmarkControl]:
    """Return the controls that a rule of the STIG names and that are not assessed for a benchmark."""
    assessed = {control.id for control in catalogue.controls_of(benchmark)}
    return (row for row in catalogue.all_controls() if row.id in _rules_of() and row.id not in assessed)


def controls_by_rules() -> Iterator[BenchmarkControl]:
    """Yield the controls of which a rule of the STIG requires less than the benchmarks, with what it requires."""
    for row in catalogue.all_controls():
        for mode in {rule.mode for rule in _rules_of().get(row.id, []) if rule.mode}:
            yield replace(row, check=accepting(row.check, FileMode(int(mode, 8))), earlier={})
