"""Values of component arguments, with the source and location of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import StrEnum
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.model import Component, Location, Step
    from agent.harden.guide.criteria import Criterion


class GivenBy(StrEnum):
    """Who set a value."""

    OPERATOR = "operator"
    """K3s' configuration, except the drop-in of this program."""
    DROPIN = "k3s-harden"
    """The drop-in of this program."""
    KUBELET_FILE = "kubelet configuration"
    """A configuration file of the kubelet, except the one that K3s writes."""
    K3S = "K3s"
    """K3s itself, in this version and configuration."""


class ArgumentRequirement(Value):
    """What a component argument has to be."""

    component: Component
    name: str
    """Without dashes."""
    criterion: Criterion


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


class EffectiveArgument(Value):
    """The effective value of an argument."""

    name: str
    value: str
    """All values joined by commas; of feature gates the last value of each gate."""
    given: tuple[Given, ...]
    """The effective values, in order: several only if the component combines them."""
    overridden: tuple[Given, ...] = ()
    """The values that others override, lowest precedence first."""


class Doubt(Value):
    """Why the effective value of an argument could not be determined."""

    reason: str
    """A sentence without its period."""
    observation: str = ""
    """What the location shows."""
    location: Location | None = None
    steps: tuple[Step, ...] = ()
    """What removes the doubt; empty if no file of this host does."""
    file: str = ""
    """The path of the file that decides the argument, if the operator names one."""


class EffectiveArguments(Value):
    """The effective arguments of a component, by their names without dashes."""

    component: Component
    found: Mapping[str, EffectiveArgument]
    doubts: Mapping[str, Doubt]
    """By name, for arguments that are set or not; under "" a doubt about all arguments."""

    def get(self, name: str) -> EffectiveArgument | None:
        """Return the argument; None if it is not set, so that the component's own default applies."""
        return self.found.get(name)

    def doubt(self, name: str) -> Doubt | None:
        """Return why the argument could not be determined; None if it could."""
        return self.doubts.get("") or self.doubts.get(name)
