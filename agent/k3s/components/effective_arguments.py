"""The effective arguments of a component: their values, who sets each of them, and why one is rejected. Pure.

agent/harden/node/arguments makes them from the configuration of a host; predictions, findings and checks read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import StrEnum
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.errors import InputError
    from agent.base.model import Location
    from agent.base.repair import Step
    from agent.base.report import Prediction
    from agent.k3s.roles_and_versions import Component


class GivenBy(StrEnum):
    """Who set a value."""

    OPERATOR = "operator"
    """K3s' configuration, except the drop-in of this program."""
    DROPIN = "k3s-harden"
    """The drop-in of this program."""
    KUBELET_FILE = "kubelet configuration"
    """A configuration file of the component, except the one that K3s writes."""
    K3S = "K3s"
    """K3s itself, in this version and configuration."""


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
    prediction: Prediction
    meant: str = ""
    """What to write instead of `found`, or of the name of the argument, if a name is misspelt."""


class Given(NamedTuple):
    """One value of an argument."""

    value: str
    by: GivenBy
    location: Location | None = None
    """Where it is set; None if K3s sets it."""
    source: str = ""
    """The K3s version and the upstream file that shows its default; empty if it has a location."""
    written: str = ""
    """The K3s option or the field as it is written there; empty for `--name=value`."""
    field: str = ""
    """The name in `written`."""

    @property
    def at(self) -> Location:
        """The location of a value that K3s does not set."""
        if self.location is None:
            raise ValueError(f"{self.by} sets {self.value!r} without a location")
        return self.location

    @property
    def is_field(self) -> bool:
        """Whether the component reads it as a field of a file."""
        return bool(self.field) and self.by in (GivenBy.KUBELET_FILE, GivenBy.K3S)


class EffectiveArgument(Value):
    """The effective value of an argument, or of a field of a file that has no equivalent argument."""

    name: str
    """Without dashes; the path of such a field."""
    value: str
    """All values joined by commas; of feature gates the last value of each gate."""
    given: tuple[Given, ...]
    """The effective values, in order: several only if the component combines them."""
    overridden: tuple[Given, ...] = ()
    """The values that others override, lowest precedence first."""


class UnknownArgument(Value):
    """Why the effective value of an argument could not be determined."""

    reason: str
    """A sentence without its period."""
    observation: str = ""
    """What the location shows."""
    location: Location | None = None
    steps: tuple[Step, ...] = ()
    """What makes it known; empty if no file of this host does."""
    awaits: Location | None = None
    """What has to be corrected first."""
    file: str = ""
    """The path of the file that decides the argument, if the operator names one."""


class EffectiveArguments(Value):
    """The effective arguments of a component, by name."""

    component: Component
    found: Mapping[str, EffectiveArgument]
    unknown: Mapping[str, UnknownArgument]
    """By name, for arguments that are set or not; under "" why all are unknown."""
    problems: tuple[InputError, ...] = ()
    """Why the component cannot decode a file of its own; a BoundsError if only this program cannot."""

    def get(self, name: str) -> EffectiveArgument | None:
        """Return the argument; None if it is not set, so that the component's own default applies."""
        return self.found.get(name)

    def why_unknown(self, name: str) -> UnknownArgument | None:
        """Return why the argument could not be determined; None if it could."""
        return self.unknown.get("") or self.unknown.get(name)
