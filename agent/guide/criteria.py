"""What a value of K3s' or a component's configuration may be for a control to be met."""

from __future__ import annotations

import re
from typing import NamedTuple

from agent.k3s.go_values import FALSE, TRUE, integer, is_duration


class Boolean(NamedTuple):
    """A flag with this value, in any spelling that Go's strconv.ParseBool takes."""

    wanted: bool

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return value in (TRUE if self.wanted else FALSE)

    def __str__(self) -> str:
        return "true" if self.wanted else "false"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class AtLeast(NamedTuple):
    """A whole number that is no smaller than `least`, as Go reads it: 0x1e and 036 are 30.

    `example` is one that a site may start from, where the least is not.
    """

    least: int
    example: int = 0

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        number = integer(value)
        return number is not None and number >= self.least

    def __str__(self) -> str:
        return f"{self.least} or more"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class Duration(NamedTuple):
    """A Go duration that is longer than zero; zero switches the limit off. `example` is what the row itself sets."""

    example: str

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return is_duration(value) and re.search(r"[1-9]", value) is not None

    def __str__(self) -> str:
        return f"a duration above zero, such as {self.example}"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class AbsolutePath(NamedTuple):
    """The absolute path of `what`; `-`, which sends a log to standard output, is none."""

    what: str

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return value.startswith("/") and not value.endswith("/")

    def __str__(self) -> str:
        return f"the absolute path of {self.what}"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class Includes(NamedTuple):
    """A comma-separated list with at least these names, in any order."""

    names: tuple[str, ...]

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return set(self.names) <= set(value.split(","))

    def __str__(self) -> str:
        return f"a comma-separated list with {' and '.join(self.names)}"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"lists {' and '.join(self.names)}"


class IncludesOneOf(NamedTuple):
    """A comma-separated list with at least one of these names."""

    names: tuple[str, ...]

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return not set(self.names).isdisjoint(value.split(","))

    def __str__(self) -> str:
        return f"a comma-separated list with {' or '.join(self.names)}"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"lists {' or '.join(self.names)}"


class Excludes(NamedTuple):
    """A comma-separated list without any of these names."""

    names: tuple[str, ...]

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return set(self.names).isdisjoint(value.split(","))

    def __str__(self) -> str:
        return f"no {' and no '.join(self.names)}"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"does not list {' or '.join(self.names)}"


class SubsetOf(NamedTuple):
    """A comma-separated list of one or more of these names, and no others."""

    names: tuple[str, ...]

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return set(value.split(",")) <= set(self.names)

    def __str__(self) -> str:
        return f"a comma-separated list of some of {', '.join(self.names)}, and no others"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"lists nothing but {', '.join(self.names)}"


class Present(NamedTuple):
    """Any value but the empty one."""

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return value != ""

    def __str__(self) -> str:
        return "set"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class NotGiven(NamedTuple):
    """No value at all: the option may not be given."""

    def accepts(self, _: str) -> bool:
        """Whether this value meets the control."""
        return False

    def __str__(self) -> str:
        return "not set"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class Loopback(NamedTuple):
    """An IP address that only the host itself can reach, with or without a port."""

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        octet = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
        pattern = rf"127(?:\.{octet}){{3}}(?::\d{{1,5}})?|::1|\[::1\](?::\d{{1,5}})?"
        return re.fullmatch(pattern, value, re.ASCII) is not None

    def __str__(self) -> str:
        return "127.0.0.1 or ::1"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


class LeavesGateOn(NamedTuple):
    """A comma-separated list of feature gates that does not switch off this one, which is beta and so on by default.

    AllBeta=false switches off all beta gates that the list does not name, and of two entries for one gate the last
    counts (kubernetes, staging/src/k8s.io/component-base/featuregate/feature_gate.go).
    """

    gate: str

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        entries = (entry.partition("=") for entry in value.split(",") if entry)
        gates = {gate.strip(): text.strip() for gate, _, text in entries}
        return gates.get(self.gate, gates.get("AllBeta", "true")) in TRUE

    def __str__(self) -> str:
        return f"without {self.gate}=false"

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"does not list {self.gate}=false"


class Equals(NamedTuple):
    """Exactly this text."""

    text: str

    def accepts(self, value: str) -> bool:
        """Whether this value meets the control."""
        return value == self.text

    def __str__(self) -> str:
        return self.text

    def predicate(self) -> str:
        """The criterion as what follows the name of the value in a sentence."""
        return f"is {self}"


Criterion = (
    Boolean
    | AtLeast
    | Duration
    | AbsolutePath
    | Includes
    | IncludesOneOf
    | Excludes
    | SubsetOf
    | Present
    | NotGiven
    | Loopback
    | LeavesGateOn
    | Equals
)
"""What a value has to be for a control to be met; each says so as str(), and as the predicate of a sentence."""
