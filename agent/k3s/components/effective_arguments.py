"""The effective arguments of a component: their values, who sets each of them, and why one is rejected. Pure.

agent/harden/node/arguments makes them from the configuration of a host; predictions, findings and checks read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from agent.base.errors import InputError
from agent.base.model import Location, StrEnum
from agent.base.repair import Step
from agent.base.report import Prediction
from agent.base.value import Value
from agent.k3s.components import tables
from agent.k3s.components.tables import FeatureGate
from agent.k3s.go_values import FALSE, TRUE
from agent.k3s.options import Spelling
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


FEATURE_GATES = "feature-gates"
_ALL = {"AllAlpha": "alpha", "AllBeta": "beta"}
"""Gates that set all gates of a stage that are not set themselves."""
_KUBE = "kube"
"""The component that gates without a prefix belong to."""
_PREDICTION = Prediction(f"agent/k3s/components/{tables.FEATURE_GATES}", "component-base/featuregate/feature_gate.go")


class GateSetting(Value):
    """A feature gate as it is set."""

    name: str
    value: str | None
    """None if there is no `=`."""
    location: Location
    written: str


def gate_settings(text: str, location: Location, *, has_prefix: bool) -> Iterator[GateSetting]:
    """Yield the gates of a value of `feature-gates`. `has_prefix` is whether `kube:Gate=true` is supported."""
    for pair in filter(None, text.split(",")):
        if has_prefix and not pair.strip():
            continue  # ColonSeparatedMultimapStringString trims before FeatureGate.Set skips empty items
        name, separator, value = pair.partition("=")
        prefix, colon, rest = name.partition(":")
        if has_prefix and colon and prefix.strip() == _KUBE:
            name = rest
        yield GateSetting(name.strip(), value.strip() if separator else None, location, pair)


def valid_gates(settings: Iterable[GateSetting]) -> dict[str, bool]:
    """Return the gates that are set to true or false."""
    return {setting.name: setting.value in TRUE for setting in settings if setting.value in TRUE | FALSE}


def rejected_gates(component: Component, settings: Iterable[GateSetting], minor: int) -> Iterator[Rejection]:
    """Yield the gates that a component of this minor rejects."""
    last = {setting.name: setting for setting in settings}
    known = Spelling(name for name in tables.names_of_gates() if tables.feature_gate(name, minor))
    rejected = [found for setting in last.values() for found in _rejected(component, setting, minor, known)]
    yield from rejected or _unmet(component, last, minor)


def _rejected(component: Component, setting: GateSetting, minor: int, known: Spelling) -> Iterator[Rejection]:
    """Yield why a component rejects one setting."""
    name, gate = setting.name, tables.feature_gate(setting.name, minor)
    if setting.value is None or setting.value not in TRUE | FALSE:
        message, expected = f"{name} has no boolean value", f"{name}=true or {name}=false"
    elif name in _ALL:
        return
    elif gate is None:
        minors = tables.minors_of_gate(name)
        reason = absent(minors, minor) if minors else "does not exist"
        message, expected = f"{name} {reason}", f"a feature gate of Kubernetes 1.{minor}"
    elif gate.is_locked and gate.default is not (setting.value in TRUE):
        state = str(gate.default).lower()
        message, expected = f"{name} is locked to {state} in 1.{minor}", f"{name}={state}, or no setting"
    else:
        return
    meant = ""
    # A gate of another version is not misspelt.
    if name and name not in _ALL and not tables.minors_of_gate(name):
        similar = known.meant(name)
        meant = setting.written.replace(name, similar, 1) if similar else ""
    yield _rejection(component, setting, message, meant or expected, meant)


def _rejection(component: Component, setting: GateSetting, problem: str, expected: str, meant: str = "") -> Rejection:
    message = f"rejects its feature gates: feature gate {problem}"
    shown = (component, FEATURE_GATES, message, expected, setting.written, setting.location, _PREDICTION, meant)
    return Rejection(Cause.FEATURE_GATE, *shown)


def absent(minors: tuple[int, ...], minor: int) -> str:
    """Return when an argument or a gate was removed or added that a minor version does not have."""
    older = [other for other in minors if other < minor]
    return f"was removed in 1.{max(older) + 1}" if older else f"does not exist before 1.{min(minors)}"


def _unmet(component: Component, last: Mapping[str, GateSetting], minor: int) -> Iterator[Rejection]:
    """Yield the gates that are on while a gate that they need is off."""
    settings = valid_gates(last.values())
    for name, gate in tables.gates_with_needs(minor) if last else ():
        needed = {other: tables.feature_gate(other, minor) for other in gate.needs}
        off = [other for other, found in needed.items() if found and not is_on(other, found, settings)]
        setting = next((last[chosen] for chosen in (name, *off, *_ALL) if chosen in last), None)
        if off and setting is not None and is_on(name, gate, settings):
            yield _rejection(component, setting, f"{name} is on, but needs {', '.join(off)}", f"{off[0]}=true")


def is_on(name: str, gate: FeatureGate, settings: Mapping[str, bool]) -> bool:
    """Return whether a gate is on if some gates are set, which can be those of a stage."""
    every = next((known for known, stage in _ALL.items() if stage == gate.stage), "")
    return settings.get(name, settings.get(every, gate.default))
