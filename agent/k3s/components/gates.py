"""Feature gates that a component rejects when it starts. Pure.

Source: kubernetes, component-base/featuregate/feature_gate.go and component-base/compatibility/registry.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.report import Prediction
from agent.base.value import Value
from agent.k3s.components import tables
from agent.k3s.components.effective_arguments import Cause, Rejection
from agent.k3s.go_values import FALSE, TRUE
from agent.k3s.options import Spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.base.model import Location
    from agent.k3s.components.tables import FeatureGate
    from agent.k3s.roles_and_versions import Component

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
