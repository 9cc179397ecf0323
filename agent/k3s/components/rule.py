"""A rule about arguments of a component, and the arguments that do not meet some rules. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components.relations import holds, name_in
from agent.k3s.components.tables import FIRST_MINOR, LAST_MINOR
from agent.value import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.k3s.components.rejection import ComponentArguments, Rejection
    from agent.k3s.components.relations import Relation


class Rule(Row):
    """One row: a relation of arguments that a component enforces after it parsed them."""

    arguments: str
    """Names separated by blanks, each with a rule of its own; terms, for relations to other terms."""
    relation: Relation
    source: str
    """The upstream file."""
    when: str = ""
    """Terms that must hold, separated by blanks."""
    since: int = FIRST_MINOR
    until: int = LAST_MINOR
    """The first and the last minor version with the rule."""


def unmet_rules(rules: Iterable[Rule], arguments: ComponentArguments) -> Iterator[Rejection]:
    """Yield the arguments that do not meet a rule. What only K3s passes is never rejected."""
    for rule in rules:
        conditions, others = rule.when.split(), rule.relation.others()
        subjects = rule.arguments.split()
        names = {name_in(term) for term in (*subjects, *others, *conditions)}
        if names.isdisjoint(arguments.given) or not rule.since <= arguments.minor <= rule.until:
            continue
        if all(holds(term, arguments) for term in conditions):
            for subject in subjects:
                yield from _unmet(rule, subject, arguments)


def _unmet(rule: Rule, subject: str, arguments: ComponentArguments) -> Iterator[Rejection]:
    for unmet in rule.relation.unmet(subject, arguments):
        involved = (name_in(subject), unmet.other, *map(name_in, rule.when.split()))
        given = next((name for name in involved if name in arguments.given), None)
        if given is not None:
            is_default = unmet.other in arguments.passed and unmet.other not in arguments.given
            note = " (its value by default)" if is_default else ""
            yield arguments.rejection(given, f"{unmet.message}{note}", unmet.expected, rule.source)
