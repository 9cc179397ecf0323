"""Predictions about the arguments of components. Loaded only if the operator sets one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.findings.registry import Trouble, edit_of_k3s_config, written_by_apply
from agent.k3s import default_arguments
from agent.k3s.components import prediction, tables
from agent.k3s.components.problem import Cause
from agent.k3s.config import ConfigValue
from agent.k3s.default_arguments import Channel
from agent.model import Component
from agent.node.components import not_run
from agent.node.datastore import Datastore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.k3s.components.problem import Problem
    from agent.node.facts import HostFacts
    from agent.situation import Situation


def with_arguments(facts: HostFacts) -> list[Component]:
    """Return the components that run on this host with arguments of the operator."""
    return [one for one in Component if facts.operator_config.items(one.config_key) and not not_run(one, facts)]


def is_described(facts: HostFacts) -> bool:
    """Return whether the tables describe the version of this host. Otherwise nothing is predicted from them."""
    return facts.version_is_known and tables.describe(facts.version)


def troubles(situation: Situation, cause: Cause) -> Iterator[Trouble]:
    """Yield the cases with one cause."""
    facts = situation.facts
    for component in with_arguments(facts) if is_described(facts) else ():
        given, minor = _given(component, facts), facts.version.minor
        for problem in prediction.problems(component, given, minor, own=_own(facts)):
            if problem.cause is cause:
                yield _trouble(situation, problem)


def _given(component: Component, facts: HostFacts) -> Mapping[str, Sequence[ConfigValue]]:
    """Return the arguments that K3s' configuration sets, with K3s' own value where it keeps that."""
    key = component.config_key
    given = dict(facts.merged_config.component_arguments(key))
    for row in default_arguments.of(component):
        own = row.channel is Channel.ARGUMENT and row.in_version(facts.version)
        if own and row.name in given and facts.merged_config.keeps_default(key, row.name):
            values = given[row.name]
            given[row.name] = (ConfigValue(row.example, values[0].location), *values)
    return given


def _own(facts: HostFacts) -> frozenset[str]:
    """Return the arguments that K3s passes only with some options, which this host has."""
    encrypts = facts.merged_config.boolean("secrets-encryption") is True
    etcd = facts.datastore is not Datastore.SQLITE
    return frozenset(
        (
            *(("encryption-provider-config",) if encrypts else ()),
            *(("etcd-certfile", "etcd-keyfile") if etcd else ()),
        )
    )


def _trouble(situation: Situation, problem: Problem) -> Trouble:
    is_gate = problem.cause is Cause.FEATURE_GATE
    verb = "remove" if problem.cause is Cause.UNKNOWN_ARGUMENT else "correct"
    name = problem.found if is_gate else problem.argument or "the empty item"
    if problem.location.path == situation.facts.dropin_path:
        remediation = written_by_apply(situation, str(problem.location.path))
    else:
        remediation = edit_of_k3s_config(f"{verb} `{name}`", problem.location)
    return Trouble(
        f"K3s does not start: {problem.component} {problem.message}",
        expected=problem.expected,
        found=problem.found,
        location=problem.location,
        remediation=remediation,
    )
