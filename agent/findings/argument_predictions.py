"""Predictions about the arguments of components. Loaded only if the operator sets one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from agent.base.model import Component, Location
from agent.base.value import replace
from agent.findings.registry import Problem, correction, edit_of_k3s_config
from agent.harden.node.components import not_run
from agent.harden.node.passed_arguments import passed_arguments, values_in_order
from agent.k3s.components import prediction, tables
from agent.k3s.components.rejection import Cause
from agent.k3s.config import ConfigValue
from agent.k3s.go_values import FALSE
from agent.k3s.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.harden.node.facts import HostFacts
    from agent.harden.situation import Situation
    from agent.k3s.components.rejection import Rejection


def with_arguments(facts: HostFacts) -> list[Component]:
    """Return the components that run on this host with arguments of the operator."""
    return [item for item in Component if facts.operator_config.items(item.config_key) and not not_run(item, facts)]


def is_described(facts: HostFacts) -> bool:
    """Return whether the tables describe the version of this host. Otherwise nothing is predicted from them."""
    return facts.version_is_known and tables.describe(facts.version)


def problems(situation: Situation, cause: str) -> Iterator[Problem]:
    """Yield the cases with one cause."""
    return (_problem(situation, found) for found in _rejections(_Same(situation)) if found.cause == cause)


class _Same:
    """A situation as a key: several findings come from one prediction."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.situation is self.situation

    def __hash__(self) -> int:
        return id(self.situation)


@lru_cache(maxsize=1)
def _rejections(key: _Same) -> list[Rejection]:
    situation, facts = key.situation, key.situation.facts
    found: list[Rejection] = []
    for component in _predicted(situation) if is_described(facts) else ():
        passed = passed_arguments(component, facts)
        given = _given(component, facts, passed)
        context = prediction.Context(passed)
        options = _options(given, facts) if component is Component.KUBELET else {}
        if component is Component.KUBELET and situation.k3s_files.kubelet_files:
            from agent.k3s.components.files.fields_as_arguments import fields_as_arguments

            files = fields_as_arguments(component, situation.k3s_files.kubelet_files, facts.version.minor)
            # What K3s passes as an argument overrides the files.
            given = {**{name: value for name, value in files.arguments.items() if name not in passed}, **given}
            context = replace(context, fields=files.others, gates=files.gates)
        for rejected in prediction.rejected_arguments(component, {**given, **options}, facts.version.minor, context):
            option = _OPTIONS[rejected.argument] if rejected.argument in options else ""
            found.append(replace(rejected, argument=option) if option else rejected)
    return found


_OPTIONS = {"node-labels": "node-label", "register-with-taints": "node-taint"}
"""Arguments of the kubelet that K3s passes on from an option of its own (k3s, pkg/daemons/agent/agent_linux.go)."""


def _options(given: Mapping[str, Sequence[ConfigValue]], facts: HostFacts) -> dict[str, tuple[ConfigValue, ...]]:
    """Return the arguments that K3s makes of its own options, unless an argument of the operator replaces them."""
    items = {name: facts.merged_config.items(option) for name, option in _OPTIONS.items() if name not in given}
    # K3s joins the items to one value.
    return {
        name: (ConfigValue(",".join(item.text for item in values), values[-1].location),)
        for name, values in items.items()
        if values
    }


def accepts_cgroup_v1(situation: Situation) -> bool:
    """Return whether the kubelet runs on control groups of version 1, or does not run here."""
    facts = situation.facts
    if not_run(Component.KUBELET, facts):
        return True
    from agent.k3s.components.files.fields_as_arguments import fields_as_arguments

    given = facts.merged_config.component_arguments(Component.KUBELET.config_key)
    files, minor = situation.k3s_files.kubelet_files, min(facts.version.minor, tables.LAST_MINOR)
    read = fields_as_arguments(Component.KUBELET, files, minor)
    values = given.get("fail-cgroupv1") or read.arguments.get("fail-cgroupv1") or ()
    return bool(values) and values[-1].text in FALSE


def kubelet_file_problems(situation: Situation) -> Iterator[Problem]:
    """Yield the files of the kubelet that it rejects."""
    facts = situation.facts
    if not is_described(facts) or not_run(Component.KUBELET, facts):
        return
    from agent.k3s.components.files.fields_as_arguments import fields_as_arguments

    files = situation.k3s_files.kubelet_files
    for problem in fields_as_arguments(Component.KUBELET, files, facts.version.minor).problems:
        yield Problem(
            f"K3s does not start: the kubelet rejects a file of its configuration: {problem.problem}",
            location=problem.location,
            remediation=edit_of_k3s_config("correct the file", problem.location),
        )


def _predicted(situation: Situation) -> list[Component]:
    facts = situation.facts
    found = with_arguments(facts)
    config = facts.operator_config
    has_more = bool(situation.k3s_files.kubelet_files) or any(map(config.items, _OPTIONS.values()))
    is_kubelet_left = Component.KUBELET not in found and not not_run(Component.KUBELET, facts)
    return [*found, Component.KUBELET] if has_more and is_kubelet_left else found


def _given(component: Component, facts: HostFacts, passed: Mapping[str, str]) -> dict[str, tuple[ConfigValue, ...]]:
    """Return the arguments that K3s' configuration sets, with K3s' own value where it keeps that."""
    return {
        name: tuple(value or ConfigValue(passed[name], next(filter(None, values)).location) for value in values)
        for name, values in values_in_order(component, facts, passed).items()
    }


def _cut_at_commas(situation: Situation, problem: Rejection) -> str:
    """Return the text in a list in brackets of which an unknown argument is a part, because it has no quotes.

    YAML reads `[a=x,y]` as the items `a=x` and `y`. The result is empty for any other problem.
    """
    if problem.cause is not Cause.UNKNOWN_ARGUMENT or problem.location.path in situation.facts.command_line_files:
        return ""
    return _parts(_Same(situation), problem.component).get((problem.location, problem.argument), "")


@lru_cache(maxsize=len(Component))
def _parts(key: _Same, component: Component) -> dict[tuple[Location, str], str]:
    """Return the text of each item without `=` and the items before it on its line, by location and item."""
    lines: dict[Location, list[list[str]]] = {}
    for item in key.situation.facts.operator_config.items(component.config_key):
        groups = lines.setdefault(item.location, [])
        if not groups or "=" in item.text:
            groups.append([])
        groups[-1].append(item.text)
    found: dict[tuple[Location, str], str] = {}
    for location, groups in lines.items():
        for first, *others in groups:
            whole = ",".join((first, *others))
            if "=" in first and "," not in first and HIDDEN not in first and len(whole) <= _LONGEST_LIST:
                for part in others:
                    found.setdefault((location, part), whole)
    return found


_LONGEST_LIST = 1000
"""Characters of a list that is printed for each of its items."""


def _problem(situation: Situation, problem: Rejection) -> Problem:
    is_gate = problem.cause is Cause.FEATURE_GATE
    verb = "remove" if problem.cause is Cause.UNKNOWN_ARGUMENT else "correct"
    name = problem.found if is_gate else problem.argument or "the empty item"
    step = f"write `{problem.meant}` instead of `{name}`" if problem.meant else f"{verb} `{name}`"
    whole = _cut_at_commas(situation, problem)
    if whole:
        step = f"write `'{whole}'` instead of `{whole}`"
    reason = ": a comma without quotes ends an item of the list" if whole else ""
    return Problem(
        f"K3s does not start: {problem.component} {problem.message}{reason}",
        expected=problem.expected,
        found=problem.found,
        location=problem.location,
        remediation=correction(situation, problem.location, step),
    )
