"""The table of the rules about arguments, rules.tsv. Pure.

What is no row is in irregular_rules.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from agent import package_data
from agent.k3s.components import relations
from agent.k3s.components.relations import Between, Exceeds, Matches, Requires
from agent.k3s.components.rule import Rule
from agent.k3s.components.syntaxes import syntax
from agent.k3s.components.tables import minors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.k3s.components.relations import Relation
    from agent.model import Component

RULES = "rules.tsv"
_DEFAULT = "default"

_RELATIONS: Mapping[str, Callable[[str], Relation]] = {
    "above": lambda operand: Exceeds(*_name_and_factor(operand)),
    "alone": relations.Alone,
    "at least": relations.at_least,
    "at least or 0": lambda operand: Between(operand, or_zero=True),
    "between": lambda operand: _between(operand, or_zero=False),
    "between or 0": lambda operand: _between(operand, or_zero=True),
    "excludes": relations.Excludes,
    "forbidden": lambda _: relations.Forbidden(),
    "includes": relations.Includes,
    "matches": lambda operand: Matches(syntax(operand)),
    "more than": relations.more_than,
    "not below": lambda operand: Exceeds(operand, or_equal=True),
    "not empty": lambda _: relations.NotEmpty(),
    "one of": relations.OneOf,
    "requires": relations.Requires,
    "requires any": lambda operand: Requires(operand, is_any=True),
    "present": lambda _: relations.Present(),
    "unique": lambda _: relations.Unique(),
}
"""By name in the table, the relation for an operand."""


def rule_of(cells: list[str]) -> Rule:
    """Return the rule of a row: arguments, relation, operand, when, minors, source."""
    arguments, relation, operand, when, minors, source = cells
    covered = minors_in(minors)
    return Rule(arguments, _RELATIONS[relation](operand), source, when, covered[0], covered[-1])


def _between(operand: str, *, or_zero: bool) -> Between:
    low, high = operand.split()
    return Between(low, high, or_zero=or_zero)


def _name_and_factor(operand: str) -> tuple[str, float]:
    name, _, factor = operand.partition(" ")
    return name, float(factor or 1)


@lru_cache(maxsize=5)
def rules_about(component: Component) -> tuple[Rule, ...]:
    """Return the rules of a component, for all minors."""
    return tuple(rule_of(cells) for cells in _rows(component) if cells[1] != _DEFAULT)


@lru_cache(maxsize=5)
def default_values(component: Component) -> dict[str, str]:
    """Return the values of arguments that rules depend on if the operator does not set them."""
    rows = (row for row in _rows(component) if row[1] == _DEFAULT)
    return {name: operand for names, _, operand, *_ in rows for name in names.split()}


def _rows(component: Component) -> Iterator[list[str]]:
    for line in package_data.read("k3s", "components", RULES).decode().splitlines():
        components, _, rest = line.partition("\t")
        if components == "*" or component.value in components.split():
            yield rest.split("\t")
