"""An assessment in the terms of another framework: its controls by rule, and how much of the framework they cover."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from agent.assess.assessment import Assessment, ControlStatus, Note, Verdict
from agent.assess.frameworks import Framework
from agent.assess.frameworks.references import Decision, StigRule, nist_controls, references_of, stig_rules
from agent.base.report import K3S_VERSION, ROLE
from agent.base.value import replace
from agent.k3s.cis.versions import Assessed, Number

_WORST_FIRST = (
    ControlStatus.FAIL,
    ControlStatus.WAIVED,
    ControlStatus.UNKNOWN,
    ControlStatus.MANUAL,
    ControlStatus.PASS,
    ControlStatus.NOT_APPLICABLE,
)
_OPENS = _WORST_FIRST[:2]
"""What opens a rule, also one that a person decides: a waived control is not met, unless it is a reviewed one."""

_FAMILIES = {
    "AC": "Access Control",
    "AU": "Audit and Accountability",
    "CM": "Configuration Management",
    "IA": "Identification and Authentication",
    "SC": "System and Communications Protection",
    "SI": "System and Information Integrity",
}


class _Reference(Number):
    """The rules or controls of a framework in the place of a benchmark's number."""

    @property
    def section(self) -> str:
        """The category of the first rule of the STIG, or the family of the first control of NIST."""
        first = self.text.split()[0]
        categories = {rule.id: rule.category for rule in stig_rules()}
        return categories.get(first) or f"{first[:2]} {_FAMILIES[first[:2]]}"


class RuleResult(NamedTuple):
    """The result of a rule of the STIG on one node."""

    rule: StigRule
    status: ControlStatus
    """MANUAL if a person has to decide it."""
    verdicts: tuple[Verdict, ...]


def worst(statuses: Iterable[ControlStatus]) -> ControlStatus:
    """Return the status of a requirement that several controls decide together."""
    return min(statuses, key=_WORST_FIRST.index)


def rule_results(assessment: Assessment) -> tuple[RuleResult, ...]:
    """Return the result of each rule of the STIG, by number."""
    by_id = {verdict.control.id: verdict for verdict in (*assessment.verdicts, *assessment.by_rules)}
    role = assessment.fact(ROLE)
    minor = int((re.match(r"v1\.(\d{1,3})", assessment.fact(K3S_VERSION)) or ("", 0))[1])
    return tuple(
        RuleResult(rule, _status(rule, verdicts, minor, role), verdicts)
        for rule in stig_rules()
        for verdicts in (tuple(by_id[name] for name in rule.controls if name in by_id),)
    )


def _status(rule: StigRule, verdicts: tuple[Verdict, ...], minor: int, role: str) -> ControlStatus:
    if rule.decision is Decision.NOT_APPLICABLE and minor >= rule.not_applicable_from:
        return ControlStatus.NOT_APPLICABLE
    found = [ControlStatus.PASS if verdict.is_reviewed else verdict.status for verdict in verdicts]
    is_elsewhere = set(found) == {ControlStatus.NOT_APPLICABLE} or (rule.of_servers and role == "agent")
    if rule.decision is not Decision.HERE and is_elsewhere:
        return ControlStatus.NOT_APPLICABLE
    if rule.decision is Decision.HERE and found:
        return worst(found)
    return worst(status if status in _OPENS else ControlStatus.MANUAL for status in (*found, ControlStatus.MANUAL))


def in_framework(assessment: Assessment, framework: Framework, *, numbered: bool = True) -> Assessment:
    """Return the assessment with the controls that a framework refers to, and a note about what they cover.

    If `numbered`, its rules have the place of the benchmark's numbers and sections.
    """
    note = Note(coverage(assessment, framework))
    by_rules = {verdict.control.id: verdict for verdict in assessment.by_rules}
    referring = [
        verdict._replace(number=_Reference(" ".join(names), Assessed.AUTOMATED)) if numbered else verdict
        for verdict in (by_rules.get(verdict.control.id, verdict) for verdict in assessment.verdicts)
        for names in (getattr(references_of(verdict.control.id), framework),)
        if names
    ]
    order = [rule.id for rule in stig_rules()] if framework is Framework.STIG else list(nist_controls())
    if numbered:
        firsts = {verdict.control.id: verdict.number.text.split()[0] for verdict in referring if verdict.number}
        referring.sort(key=lambda verdict: (verdict.section, order.index(firsts[verdict.control.id])))
    # The next steps are about all controls.
    return replace(assessment, verdicts=tuple(referring), notes=(note, *assessment.notes), next_steps=())


def coverage(assessment: Assessment, framework: Framework) -> str:
    """Return one sentence: how much of a framework was decided, by whom, and with which results."""
    results = rule_results(assessment)
    if framework is Framework.NIST:
        open_ = {name for result in results for name in result.rule.nist if result.status in _WORST_FIRST[:3]}
        named = nist_controls()
        return (
            f"{framework.full_name}: the rules of the {Framework.STIG.full_name} belong to {len(named)} controls, and"
            f" {len(named) - len(open_)} of these have no open rule; a person assesses these and all others"
        )
    decisions = {
        Decision.HERE: "decided here",
        Decision.SITE: "of the site",
        Decision.NOT_APPLICABLE: "not applicable to K3s",
        Decision.NOT_COVERED: "not covered",
    }
    parts = []
    for decision, words in decisions.items():
        statuses = [result.status for result in results if result.rule.decision is decision]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in _WORST_FIRST if status in statuses)
        parts.append(f"{len(statuses)} {words} ({counts})")
    return f"{framework.full_name}: of {len(results)} rules, {', '.join(parts)}"
