"""A reason for which a component will exit when it starts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.k3s.components.values import Parsed
    from agent.k3s.config import ConfigValue
    from agent.model import Component, Location


class Cause:
    """What a component rejects. An enumeration would cost 0.2 ms of each run."""

    UNKNOWN_ARGUMENT = "unknown argument"
    INVALID_VALUE = "invalid value"
    FEATURE_GATE = "feature gate"


class Problem(Value):
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


class Argument(Value):
    """An argument with its values, parsed."""

    kind: str
    value: Parsed
    """The value that the component has after it read all of them."""
    given: Sequence[ConfigValue]
    """The values as written, in the component's order."""

    @property
    def location(self) -> Location:
        """Return the line of the last value."""
        return self.given[-1].location

    @property
    def text(self) -> str:
        """Return the last value as written."""
        return self.given[-1].text


class Arguments(Value):
    """The valid arguments of a component."""

    component: Component
    minor: int
    by_name: Mapping[str, Argument]
    """By name, with dashes. Without the arguments that only K3s sets."""
    gates: Mapping[str, bool]
    """The feature gates that are set."""
    own: frozenset[str] = frozenset()
    """Names of arguments that K3s passes only on some hosts, and on this one."""

    def value(self, name: str, default: Parsed = "") -> Parsed:
        """Return the value of an argument, or a default, which is K3s' own or the component's."""
        found = self.by_name.get(name)
        return default if found is None else found.value

    def words(self, name: str) -> tuple[str, ...]:
        """Return the items of a list; empty if it is not set."""
        found = self.value(name, ())
        return found if isinstance(found, tuple) else (str(found),)

    def problem(self, name: str, message: str, expected: str, source: str) -> Problem:
        """Return a problem of an argument that is set."""
        argument = self.by_name[name]
        return Problem(
            Cause.INVALID_VALUE, self.component, name, message, expected, argument.text, argument.location, source
        )
