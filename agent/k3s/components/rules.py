"""The table of the rules about arguments, rules.tsv, and the arguments that do not meet them. Pure.

Other rules are in irregular_rules.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.base.report import Prediction
from agent.k3s.components.relations import RELATIONS, holds, name_in
from agent.k3s.components.tables import minors_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.model import Component
    from agent.k3s.components.rejection import ParsedArguments, Rejection
    from agent.k3s.components.relations import RuleRejection, Values

RULES = "rules.tsv"
_DEFAULT = "default"


class ValueRule(NamedTuple):
    """One row: a relation that a component enforces after it parsed its arguments, or decoded a file."""

    arguments: str
    """Names separated by blanks, each with a rule of its own; terms, for relations to other terms."""
    relation: str
    operand: str
    when: str
    """Terms that must hold, separated by blanks."""
    minors: range
    source: str
    """The upstream file."""
    row: str
    """The file and line of the table."""

    def unmet(self, values: Values) -> Iterator[tuple[str, RuleRejection]]:
        """Yield how values do not meet the rule, each with its argument."""
        if all(holds(term, values) for term in self.when.split()):
            for subject in self.arguments.split():
                yield from ((subject, unmet) for unmet in RELATIONS[self.relation](self.operand, subject, values))

    def prediction(self, subject: str, unmet: RuleRejection, values: Values) -> Prediction:
        """Return why values that do not meet the rule are rejected."""
        terms = dict.fromkeys(filter(None, (name_in(subject), unmet.other, *map(name_in, self.when.split()))))
        return Prediction(self.row, self.source, tuple(values.shown(name) for name in terms))


def rule_of(row: str, cells: list[str]) -> ValueRule:
    """Return the rule of a row: arguments, relation, operand, when, minors, source."""
    arguments, relation, operand, when, minors, source = cells
    return ValueRule(arguments, relation, operand, when, minors_in(minors), source, row)


@lru_cache(maxsize=5)
def rules_about(component: Component) -> tuple[ValueRule, ...]:
    """Return the rules of a component, for all minors."""
    return tuple(rule_of(row, cells) for row, cells in _rows(component) if cells[1] != _DEFAULT)


@lru_cache(maxsize=5)
def default_values(component: Component) -> dict[str, str]:
    """Return the values of arguments that rules depend on if the operator does not set them."""
    rows = (cells for _, cells in _rows(component) if cells[1] == _DEFAULT)
    return {name: operand for names, _, operand, *_ in rows for name in names.split()}


def _rows(component: Component) -> Iterator[tuple[str, list[str]]]:
    for row, (components, *cells) in package_data.located_rows("k3s", "components", RULES):
        if components == "*" or component.value in components.split():
            yield row, cells


def rejected_by_rule(rule: ValueRule, arguments: ParsedArguments) -> Iterator[Rejection]:
    """Yield the arguments that do not meet a rule. What only K3s passes is never rejected."""
    terms = f"{rule.arguments} {rule.operand} {rule.when}".split()
    if arguments.minor not in rule.minors or arguments.given.keys().isdisjoint(map(name_in, terms)):
        return
    for subject, unmet in rule.unmet(arguments):
        involved = (name_in(subject), unmet.other, *map(name_in, rule.when.split()))
        given = next((name for name in involved if name in arguments.given), None)
        if given is not None and arguments.unknown.isdisjoint(involved):
            is_default = unmet.other in arguments.passed and unmet.other not in arguments.given
            note = " (set by default)" if is_default else ""
            prediction = rule.prediction(subject, unmet, arguments)
            yield arguments.rejection(given, f"{unmet.message}{note}", unmet.expected, prediction)
