"""The arguments of a component, and the reasons for which it exits when it starts. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.base.value import Value
from agent.k3s.components import gates, tables
from agent.k3s.components.values import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.base.model import Component, Location
    from agent.k3s.components.values import Parsed
    from agent.k3s.config import ConfigValue


class Cause:
    """What a component rejects. An enumeration would cost 0.2 ms of each run."""

    UNKNOWN_ARGUMENT = "unknown argument"
    INVALID_VALUE = "invalid value"
    FEATURE_GATE = "feature gate"


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
    source: str
    """The upstream file with the rule."""
    meant: str = ""
    """What to write instead of `found`, or of the name of the argument, if a name is misspelt."""


class ParsedArgument(Value):
    """An argument with its values, parsed."""

    kind: str
    value: Parsed
    """The value that the component has after it read all of them."""
    given: Sequence[ConfigValue]
    """The values as written, in the component's order."""


class ComponentArguments(Value):
    """The effective arguments of a component."""

    component: Component
    minor: int
    given: Mapping[str, ParsedArgument]
    """Those of the operator, by name with dashes: only they can be rejected."""
    gates: Mapping[str, bool]
    """The feature gates that are set."""
    passed: Mapping[str, str] = MappingProxyType({})
    """Those that K3s passes on this host, and the defaults that rules depend on."""

    def value(self, name: str) -> Parsed | None:
        """Return the effective value of an argument; None if it has none that is known."""
        found = self.given.get(name)
        if found is not None:
            return found.value
        text = self.passed.get(name)
        if text is None:
            return None
        # The table has no kinds of the fields of files.
        kind = tables.kind_of(self.component, name, self.minor) or ("int" if text.isdecimal() else "string")
        return parse(kind, text)

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

    def rejection(self, name: str, message: str, expected: str, source: str) -> Rejection:
        """Return the rejection of an argument that is given."""
        cause = Cause.FEATURE_GATE if name == gates.FEATURE_GATES else Cause.INVALID_VALUE
        last = self.given[name].given[-1]
        return Rejection(cause, self.component, name, message, expected, last.text, last.location, source)
