"""The table of rules about arguments: its names exist, and the relations of its rows hold for what they should."""

from __future__ import annotations

import pytest

from agent.base import package_data
from agent.k3s.components import tables
from agent.k3s.components.files.decoding import kind_of_value
from agent.k3s.components.files.file_rules import FILE_RULES
from agent.k3s.components.relations import is_gate, name_in
from agent.k3s.components.rules import RULES, default_values, rejected_by_rule, rules_about
from agent.k3s.roles_and_versions import Component
from tests.k8s.rule_examples import examples, parsed

OF_OTHERS = ("requires", "requires any", "excludes", "not below")
MINORS = range(tables.FIRST_MINOR, tables.LAST_MINOR + 1)


@pytest.mark.parametrize("component", Component)
def test_each_name_in_the_table_is_an_argument_a_field_or_a_gate(component: Component) -> None:
    """A misspelt name would make a row that never applies."""
    unknown = set()
    for rule in rules_about(component):
        others = rule.operand.split() if rule.relation in OF_OTHERS else []
        for term in (*rule.arguments.split(), *others, *rule.when.split()):
            name, minors = name_in(term), rule.minors
            exists = (
                tables.minors_of_gate(name)
                if is_gate(term)
                else [minor for minor in minors if kind_of_value(component, name, minor)]
            )
            # Not each component has each argument of the rows about all.
            if not exists and not any(kind_of_value(other, name, minor) for other in Component for minor in minors):
                unknown.add(name)
    assert unknown == set()
    assert [name for name in default_values(component) if not kind_of_value(component, name, MINORS[-1])] == []


CLOSED = {
    "cpu-manager-policy-options=prefer-align-cpus-by-uncorecache": "34-35",
    "cpu-manager-policy-options=strict-cpu-reservation": "34",
    "nodeport-addresses": "34 34-36",
}
"""Rules that a minor version removed, by their arguments. A rule without an end applies to each new minor, too."""


@pytest.mark.parametrize("table", [RULES, FILE_RULES])
def test_only_these_rules_end_with_a_minor(table: str) -> None:
    found: dict[str, str] = {}
    for row in package_data.rows("k3s", "components", table):
        if row[-2] and not row[-2].endswith("-"):
            found[row[1]] = f"{found.get(row[1], '')} {row[-2]}".strip()
    assert found == (CLOSED if table == RULES else {})


@pytest.mark.parametrize("minor", MINORS)
def test_each_row_rejects_the_example_of_what_it_rejects_and_accepts_the_other(minor: int) -> None:
    """`make k8s-test` starts the components with the same examples."""
    for example in examples(minor):
        rejected = [
            any(True for _ in rejected_by_rule(example.rule, parsed(example.component, settings, minor)))
            for settings in (example.breaks, example.meets or {})
        ]
        assert rejected == [True, False], example


def test_most_rows_have_an_example_of_what_they_accept() -> None:
    """The others are relations that the defaults meet, and rows whose values other rows reject."""
    found = examples(MINORS[-1])
    assert sum(example.meets is not None for example in found) > 0.75 * len(found)
