"""Predictions about the arguments of components. Loaded only if the operator sets one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.base.report import Prediction
from agent.base.yaml_reader import BoundsError
from agent.findings.config_edits import in_quotes, replaced, without, without_name
from agent.findings.registry import Problem, correction, edit_of_k3s_config, of_file
from agent.harden.desired.dropin_options import expected_options
from agent.harden.node.facts import not_run
from agent.k3s.components import tables
from agent.k3s.components.effective_arguments import Cause
from agent.k3s.config import component_argument
from agent.k3s.go_values import FALSE
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.base.model import Location
    from agent.base.repair import Edit
    from agent.harden.node.facts import HostFacts
    from agent.harden.situation import Situation
    from agent.k3s.components.effective_arguments import Rejection
    from agent.k3s.config import ConfigValue


def with_arguments(facts: HostFacts) -> list[Component]:
    """Return the components that run on this host with arguments of the operator."""
    return [item for item in Component if facts.operator_config.items(item.config_key) and not not_run(item, facts)]


def is_described(facts: HostFacts) -> bool:
    """Return whether the tables describe the version of this host. Otherwise nothing is predicted from them."""
    return facts.version_is_known and tables.describe_or_preview(facts.version)


def problems(situation: Situation, cause: str) -> Iterator[Problem]:
    """Yield the cases with one cause."""
    config, parts = situation.facts.operator_config, {}
    for found in situation.rejections:
        if found.cause == cause:
            whole, component = "", found.component
            if cause is Cause.UNKNOWN_ARGUMENT and found.location.path not in situation.facts.command_line_files:
                if component not in parts:
                    parts[component] = _cut_at_commas(config.items(component.config_key))
                whole = parts[component].get((found.location, found.argument), "")
            yield _problem(situation, found, whole)


def accepts_cgroup_v1(situation: Situation) -> bool:
    """Return whether the kubelet runs on control groups of version 1, or does not run here."""
    found = situation.arguments(Component.KUBELET).get("fail-cgroupv1")
    return bool(not_run(Component.KUBELET, situation.facts)) or (found is not None and found.value in FALSE)


def kubelet_file_problems(situation: Situation) -> Iterator[Problem]:
    """Yield the files of the kubelet that it rejects."""
    if is_described(situation.facts) and not not_run(Component.KUBELET, situation.facts):
        for problem in situation.arguments(Component.KUBELET).problems:
            if not isinstance(problem, BoundsError):  # the kubelet may read it
                yield Problem(
                    f"K3s does not start: the kubelet rejects a file of its configuration: {problem.problem}",
                    location=problem.location,
                    repair=edit_of_k3s_config(*of_file(problem.location)),
                    prediction=Prediction("agent/k3s/components/configuration_fields.tsv", "cmd/kubelet/app/server.go"),
                )


def _cut_at_commas(items: Iterable[ConfigValue]) -> dict[tuple[Location, str], str]:
    """Return by location and item the text in brackets of which an item is a part, because it has no quotes.

    YAML reads `[a=x,y]` as the items `a=x` and `y`.
    """
    lines: dict[Location, list[list[str]]] = {}
    for item in items:
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


def _problem(situation: Situation, problem: Rejection, whole: str) -> Problem:
    """Return a rejection as a problem; `whole` is the list without quotes from which the argument is cut."""
    reason = ": a comma without quotes ends an item of the list" if whole else ""
    message = f"K3s does not start: {problem.component} {problem.message}{reason}"
    edits = (in_quotes(situation, problem.location, whole),) if whole else _corrected(situation, problem)
    fix = correction(situation, problem.location.path, *edits)
    return Problem(message, problem.expected, problem.found, problem.location, fix, prediction=problem.prediction)


def _corrected(situation: Situation, problem: Rejection) -> tuple[Edit, ...]:
    """Return the edits to the name or value that is meant, or to the one of the guide; otherwise of the removal."""
    key, name, at = problem.component.config_key, problem.argument, problem.location
    is_gate, found = problem.cause is Cause.FEATURE_GATE, problem.found
    if is_gate and not problem.meant:
        return without_name(situation, key, found, at, name) or without(situation, key, at, ())
    texts = situation.facts.merged_config.arguments_at(key, name, at)
    texts = tuple(text for text in texts if problem.cause is not Cause.INVALID_VALUE or _value(text) == found) or texts
    if not texts:  # a field of the kubelet's file, or an item without a name
        return without(situation, key, at, () if name else None)
    text = texts[-1]
    if problem.meant:
        better = text.replace(found if is_gate else name, problem.meant, 1)
    else:
        value = _better(situation, problem) if problem.cause is Cause.INVALID_VALUE else ""
        better = value and f"{name}={value}"
    return (replaced(situation, at, text, better, key),) if better else without(situation, key, at, (text,))


def _value(text: str) -> str:
    return component_argument(text).value


def _better(situation: Situation, problem: Rejection) -> str:
    """Return the value of the guide, or of a number with a unit the number; empty if there is none."""
    key, name = problem.component.config_key, problem.argument
    expected = expected_options(situation.settings, situation.facts)
    guide = next((option.value for option in expected if (option.row.key, option.row.name) == (key, name)), "")
    number = re.match(r"\d+", problem.found)
    kind = tables.kind_of(problem.component, name, situation.facts.version.minor)
    return guide or (number[0] if number and kind in {"int", "int32", "int64", "uint"} else "")
