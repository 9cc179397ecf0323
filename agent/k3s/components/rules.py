"""The parsed arguments of a component, the table of the rules about them, rules.tsv, and what does not meet it. Pure.

Other rules are in rules_in_code.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from agent.base import package_data
from agent.base.report import Prediction
from agent.base.value import Value
from agent.k3s.components import effective_arguments, tables
from agent.k3s.components.effective_arguments import Cause, Given, GivenBy, Rejection
from agent.k3s.components.files.decoding import kind_of_value
from agent.k3s.components.relations import DEFAULT, RELATIONS, RuleRejection, Values, holds, name_in
from agent.k3s.components.values import Parsed, parse
from agent.k3s.roles_and_versions import Component

RULES = "rules.tsv"
_DEFAULT = "default"
_MOST, _LONGEST = 5, 200
"""The values of a name that a prediction shows, and their characters."""


class ParsedArguments(Value):
    """The effective arguments of a component, parsed: the values of the rules."""

    component: Component
    minor: int
    given: Mapping[str, tuple[Given, ...]]
    """Those of the operator, by name, in the component's order: only they can be rejected."""
    parsed: Mapping[str, Parsed]
    """The value that the component has after it read all of `given`."""
    gates: Mapping[str, bool]
    """The feature gates that are set."""
    passed: Mapping[str, str]
    """Those that K3s sets on this host, and the defaults that rules depend on."""
    unknown: frozenset[str] = frozenset()
    """The names of those that could not be determined."""

    def value(self, name: str) -> Parsed | None:
        """Return the effective value of an argument; None if it has none that is known."""
        if name in self.parsed:
            return self.parsed[name]
        text = self.passed.get(name)
        return None if text is None else parse(kind_of_value(self.component, name, self.minor) or "string", text)

    def words(self, name: str) -> tuple[str, ...]:
        """Return the items of a list; empty if it is not set."""
        found = self.value(name)
        return found if isinstance(found, tuple) else ()

    def pairs(self, name: str) -> dict[str, str]:
        """Return the items of a mapping; empty if it is not set."""
        found = self.value(name)
        return found if isinstance(found, dict) else {}

    def gate_is_on(self, name: str) -> bool:
        """Return whether a feature gate is on. True for an unknown gate, so that nothing is predicted."""
        gate = tables.feature_gate(name, self.minor)
        return gate is None or effective_arguments.is_on(name, gate, self.gates)

    def shown(self, name: str) -> str:
        """Return a value or feature gate with its name, as it is written."""
        if name[:1].isupper():
            return f"{name}={str(self.gate_is_on(name)).lower()}"
        given = [f"{name}={value.value[:_LONGEST]}" for value in self.given.get(name, ())[:_MOST]]
        default = f"{name}={self.passed[name]}{DEFAULT}" if name in self.passed else f"{name} is not set"
        return " ".join(given) or default

    def rejection(self, name: str, message: str, expected: str, source: str | Prediction) -> Rejection:
        """Return the rejection of an argument that is given, by a rule or by what an upstream file has."""
        prediction = Prediction("", source, (self.shown(name),)) if isinstance(source, str) else source
        last = next(given for given in reversed(self.given[name]) if given.by is not GivenBy.K3S)
        if last.is_field:
            message = message.replace(name, last.field)
        return Rejection(
            Cause.INVALID_VALUE, self.component, last.field or name, message, expected, last.value, last.at, prediction
        )


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
    return ValueRule(arguments, relation, operand, when, tables.minors_in(minors), source, row)


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
