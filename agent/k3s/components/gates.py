"""Feature gates that a component rejects when it starts. Pure.

Source: kubernetes, component-base/featuregate/feature_gate.go and component-base/compatibility/registry.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import tables
from agent.k3s.go_values import FALSE, TRUE
from agent.k3s.spelling import Spelling
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
    meant: str
    """The setting with the gate that was probably meant; empty if there is none."""


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
    last = {one.name: one for one in found}
    if not last:
        return
    reported = False
    known = Spelling(one for one in tables.names_of_gates() if tables.gate(one, minor))
    for one in last.values():
        problem = _problem(one, minor)
        if problem:
            reported = True
            message, expected = problem
            meant = _meant(one, known)
            yield GateProblem(one.name, message, meant or expected, one, meant)
    if not reported:
        yield from _unmet(last, minor)


def _problem(setting: Setting, minor: int) -> tuple[str, str] | None:
    """Return what is wrong with one setting, and what is expected."""
    name = setting.name
    if setting.value is None or setting.value not in TRUE | FALSE:
        return f"feature gate {name} has no boolean value", f"{name}=true or {name}=false"
    if name in _ALL:
        return None
    gate = tables.gate(name, minor)
    if gate is None:
        return f"feature gate {name} {_absent(name, minor)}", f"a feature gate of Kubernetes 1.{minor}"
    if gate.is_locked and gate.default is not (setting.value in TRUE):
        state = str(gate.default).lower()
        return f"feature gate {name} is locked to {state} in 1.{minor}", f"{name}={state}, or no setting"
    return None


def _meant(setting: Setting, known: Spelling) -> str:
    """Return the setting of the gate that was meant by a misspelt one. A gate of another version is not misspelt."""
    if not setting.name or setting.name in _ALL or tables.minors_of_gate(setting.name):
        return ""
    meant = known.meant(setting.name)
    return setting.written.replace(setting.name, meant, 1) if meant else ""


def _absent(name: str, minor: int) -> str:
    minors = tables.minors_of_gate(name)
    if not minors:
        return "does not exist"
    if max(minors) < minor:
        return f"was removed in 1.{max(minors) + 1}"
    return f"does not exist before 1.{min(one for one in minors if one > minor)}"


def _unmet(last: dict[str, Setting], minor: int) -> Iterator[GateProblem]:
    """Yield the gates that are on while a gate that they need is off."""
    found = values(last.values())
    for name, gate in tables.gates_with_needs(minor):
        if not is_on(name, gate, found):
            continue
        needed = {one: tables.gate(one, minor) for one in gate.needs}
        off = [one for one, other in needed.items() if other and not is_on(one, other, found)]
        if off:
            setting = last.get(name) or next((last[one] for one in off if one in last), None)
            setting = setting or next((last[one] for one in _ALL if one in last), None)
            if setting is not None:
                all_needed = ", ".join(off)
                message = f"feature gate {name} is on, but needs {all_needed}"
                yield GateProblem(name, message, f"{off[0]}=true", setting, "")


def is_on(name: str, gate: Gate, found: Mapping[str, bool]) -> bool:
    """Return whether a gate is on if some gates are set, which can be those of a stage."""
    every = next((one for one, stage in _ALL.items() if stage == gate.stage), "")
    return found.get(name, found.get(every, gate.default))
