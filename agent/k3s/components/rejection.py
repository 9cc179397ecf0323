"""The arguments of a component, and the reasons for which it exits when it starts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.report import Prediction
from agent.base.value import Value
from agent.k3s.components import gates, tables
from agent.k3s.components.arguments import Cause, Given, GivenBy
from agent.k3s.components.files.field_table import kind_of_value
from agent.k3s.components.relations import DEFAULT
from agent.k3s.components.values import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.model import Component, Location
    from agent.k3s.components.values import Parsed


_MOST, _LONGEST = 5, 200
"""The values of a name that a prediction shows, and their characters."""


class Rejection(Value):
    """A reason for which a component will exit when it starts."""

    cause: str
    """One of Cause."""
    component: Component
    argument: str
    """The name of the argument, as written."""
    message: str
    """What is wrong, as the end of a sentence that begins with the component."""
    expected: str
    found: str
    location: Location
    prediction: Prediction
    meant: str = ""
    """What to write instead of `found`, or of the name of the argument, if a name is misspelt."""


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
        return gate is None or gates.is_on(name, gate, self.gates)

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
