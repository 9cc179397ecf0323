"""Feature gates that a component rejects when it starts. Pure.

Source: kubernetes, component-base/featuregate/feature_gate.go and component-base/compatibility/registry.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import tables
from agent.k3s.go_values import FALSE, TRUE
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.k3s.components.tables import Gate
    from agent.model import Location

_ALL = {"AllAlpha": "alpha", "AllBeta": "beta"}
"""Gates that set all gates of a stage that are not set themselves."""
_KUBE = "kube"
"""The component that gates without a prefix belong to."""


class Setting(Value):
    """A feature gate as it is set."""

    name: str
    value: str | None
    """None if there is no `=`."""
    location: Location
    written: str


def mixes_prefixes(texts: Iterable[str]) -> bool:
    """Return whether some gates have the prefix `kube:`, and others have none, which a component rejects."""
    pairs = [pair for text in texts for pair in text.split(",") if pair]
    return len({":" in pair.partition("=")[0] for pair in pairs}) > 1


class GateProblem(Value):
    """A feature gate that a component rejects."""

    name: str
    problem: str
    expected: str
    setting: Setting


def settings(text: str, location: Location, *, has_prefix: bool) -> Iterator[Setting]:
    """Yield the gates of a value of `feature-gates`. `has_prefix` is whether `kube:Gate=true` is supported."""
    for pair in filter(None, text.split(",")):
        if has_prefix and not pair.strip():
            continue  # ColonSeparatedMultimapStringString trims before FeatureGate.Set skips empty items
        name, separator, value = pair.partition("=")
        prefix, colon, rest = name.partition(":")
        if has_prefix and colon and prefix.strip() == _KUBE:
            name = rest
        yield Setting(name.strip(), value.strip() if separator else None, location, pair)


def values(found: Iterable[Setting]) -> dict[str, bool]:
    """Return the gates that are set to true or false."""
    return {one.name: one.value in TRUE for one in found if one.value in TRUE | FALSE}


def problems(found: Iterable[Setting], minor: int) -> Iterator[GateProblem]:
    """Yield the gates that a component of this minor rejects."""
    known = tables.gates(minor)
    last = {one.name: one for one in found}
    reported = False
    for one in last.values():
        problem = _problem(one, known, minor)
        if problem:
            reported = True
            yield GateProblem(one.name, *problem, one)
    if not reported:
        yield from _unmet(last, known)


def _problem(setting: Setting, known: dict[str, Gate], minor: int) -> tuple[str, str] | None:
    """Return what is wrong with one setting, and what is expected."""
    name = setting.name
    if setting.value is None or setting.value not in TRUE | FALSE:
        return f"feature gate {name} has no boolean value", f"{name}=true or {name}=false"
    if name in _ALL:
        return None
    gate = known.get(name)
    if gate is None:
        return f"feature gate {name} {_absent(name, minor)}", f"a feature gate of Kubernetes 1.{minor}"
    if gate.is_locked and gate.default is not (setting.value in TRUE):
        state = str(gate.default).lower()
        return f"feature gate {name} is locked to {state} in 1.{minor}", f"{name}={state}, or no setting"
    return None


def _absent(name: str, minor: int) -> str:
    minors = tables.minors_of_gate(name)
    if not minors:
        return "does not exist"
    if max(minors) < minor:
        return f"was removed in 1.{max(minors) + 1}"
    return f"does not exist before 1.{min(one for one in minors if one > minor)}"


def _unmet(last: dict[str, Setting], known: dict[str, Gate]) -> Iterator[GateProblem]:
    """Yield the gates that are on while a gate that they need is off."""
    enabled = values(last.values())
    for every, stage in _ALL.items():
        if every in enabled:
            for name, gate in known.items():
                if gate.stage == stage:
                    enabled.setdefault(name, enabled[every])
    for name, gate in known.items():
        if not gate.needs or not enabled.get(name, gate.default):
            continue
        off = [one for one in gate.needs if one in known and not enabled.get(one, known[one].default)]
        if off:
            setting = last.get(name) or next((last[one] for one in off if one in last), None)
            setting = setting or next((last[one] for one in _ALL if one in last), None)
            if setting is not None:
                needed = ", ".join(off)
                yield GateProblem(name, f"feature gate {name} is on, but needs {needed}", f"{off[0]}=true", setting)
