"""Effective arguments of each Kubernetes component, and where each of them is set.

K3s passes its own arguments to every component. The operator's argument replaces K3s' argument of the same name;
with `+=` it follows it, with `-=` it precedes it (k3s, pkg/util/args.go). If an argument is given several times, a
component uses the last value, or combines all.

The kubelet also reads configuration files, and any argument overrides all of them (kubernetes,
cmd/kubelet/app/server.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks import k3s_arguments, undetermined_arguments
from agent.assess.checks.argument_values import Doubt, EffectiveArgument, EffectiveArguments, Given, GivenBy
from agent.assess.checks.k3s_arguments import by_operator, default, own_option
from agent.assess.checks.unmet import made_readable
from agent.base.model import Component, Location
from agent.base.value import replace
from agent.harden.node.passed_arguments import PROTECT_KERNEL_DEFAULTS, in_force, values_in_order
from agent.k3s.components.tables import is_combined
from agent.k3s.config import string_slice
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DEFAULTS_FILE, Channel
from agent.k3s.kubelet_configuration import (
    FEATURE_GATES,
    KUBELET_FIELDS,
    KubeletConfiguration,
    as_field,
    other_spelling_of_config_dir,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.node.facts import HostFacts


def effective_arguments(
    component: Component, facts: HostFacts, kubelet: KubeletConfiguration | None = None
) -> EffectiveArguments:
    """Return a component's effective arguments on this host; `kubelet` has the kubelet's configuration files.

    They are those of K3s' configuration and of default_arguments.tsv, not all that K3s sets.
    """
    if component is Component.KUBELET:
        return _kubelet(facts, kubelet or KubeletConfiguration(problem="the kubelet's files were not read"))
    given = _on_the_command_line(component, facts)
    found = {name: _combined(component, name, values) for name, values in given.items()}
    return EffectiveArguments(component, found, undetermined_arguments.doubts(component, facts, found))


def _kubelet(facts: HostFacts, kubelet: KubeletConfiguration) -> EffectiveArguments:
    arguments = _on_the_command_line(Component.KUBELET, facts)
    in_files = _in_files(facts, kubelet)
    found = {}
    for name in (*arguments, *(name for name in in_files if name not in arguments)):
        values, overridden = in_files.get(name, ((), ()))
        if name in arguments and name != FEATURE_GATES:
            argument = _combined(Component.KUBELET, name, arguments[name])
            found[name] = replace(argument, overridden=(*overridden, *values, *argument.overridden))
        elif values or name in arguments:
            argument = _combined(Component.KUBELET, name, (*values, *arguments.get(name, ())))
            found[name] = replace(argument, overridden=(*overridden, *argument.overridden))
    in_doubt = undetermined_arguments.doubts(Component.KUBELET, facts, found)
    unread = _unread(kubelet)
    if unread is not None:
        for name in KUBELET_FIELDS:
            if name == FEATURE_GATES or name not in arguments:
                in_doubt.setdefault(name, unread)
    return EffectiveArguments(Component.KUBELET, found, in_doubt)


def _unread(kubelet: KubeletConfiguration) -> Doubt | None:
    if kubelet.problem:
        return Doubt(kubelet.problem)
    return next(
        (
            Doubt(file.problem, "cannot be read", Location(file.path), made_readable(file.path))
            for file in kubelet.files
            if file.problem
        ),
        None,
    )


def _on_the_command_line(component: Component, facts: HostFacts) -> dict[str, tuple[Given, ...]]:
    """Return all values of each argument in the order in which K3s passes them."""
    defaults = {row.name: default(row, facts) for row in in_force(component, facts) if row.channel is Channel.ARGUMENT}
    if component is Component.API_SERVER:
        defaults.update(k3s_arguments.of_external_etcd(facts))
    if component is Component.KUBELET and facts.version.minor < FIRST_WITH_KUBELET_FILES:
        option = own_option(PROTECT_KERNEL_DEFAULTS, facts)
        defaults.update({PROTECT_KERNEL_DEFAULTS: option} if option else {})
    found = {
        name: tuple(
            defaults[name] if value is None else _as_written(by_operator(*value[:2], facts), value.spelling)
            for value in values
        )
        for name, values in values_in_order(component, facts, defaults).items()
    }
    return {**{name: (value,) for name, value in defaults.items()}, **found}


def _as_written(given: Given, spelling: str) -> Given:
    """Return a value with the spelling of its name; empty for the usual one."""
    return given._replace(written=f"--{spelling}={given.value}", field=spelling) if spelling else given


def _in_files(
    facts: HostFacts, kubelet: KubeletConfiguration
) -> dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]]:
    """Return by name the values of the kubelet's files, and those that they override."""
    found: dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]] = {}
    for name, given in _fields_in_order(facts, kubelet):
        values, overridden = found.get(name, ((), ()))
        if name == FEATURE_GATES and given is not None:
            found[name] = ((*values, given), overridden)  # the kubelet merges a mapping key by key
        else:
            found[name] = ((given,) if given else (), (*overridden, *values))
    return found


def _fields_in_order(facts: HostFacts, kubelet: KubeletConfiguration) -> Iterator[tuple[str, Given | None]]:
    """Yield each field that is set, lowest precedence first; None removes the earlier values."""
    rows = tuple(in_force(Component.KUBELET, facts))
    yield from ((row.name, default(row, facts)) for row in rows if row.channel is Channel.BUILT_IN)
    own = facts.data_dir / KUBELET_DEFAULTS_FILE
    is_read = other_spelling_of_config_dir(facts.merged_config) is None
    if is_read and all(file.path != own for file in kubelet.files):
        yield from ((row.name, default(row, facts)) for row in rows if row.channel is Channel.KUBELET_FILE)
        option = own_option(PROTECT_KERNEL_DEFAULTS, facts)
        if option and facts.version.minor >= FIRST_WITH_KUBELET_FILES:
            yield PROTECT_KERNEL_DEFAULTS, option
    for file in kubelet.files:
        by = GivenBy.K3S if file.path == own else GivenBy.KUBELET_FILE
        for name, (value, line) in file.settings.items():
            at, path = Location(file.path, line), KUBELET_FIELDS[name].path
            yield name, None if value is None else Given(value, by, at, written=as_field(name, value), field=path)
        if file.path == own:
            # K3s writes this file again at its next start, with the value of its option.
            yield PROTECT_KERNEL_DEFAULTS, own_option(PROTECT_KERNEL_DEFAULTS, facts)


def _combined(component: Component, name: str, values: tuple[Given, ...]) -> EffectiveArgument:
    if name == FEATURE_GATES:
        pairs = [pair.strip().partition("=") for given in values for pair in given.value.split(",") if pair.strip()]
        # Newer components accept `component:gate=…`, and their own gates without the prefix.
        gates = {gate.removeprefix("kube:"): on for gate, _, on in pairs}
        return EffectiveArgument(name, ",".join(f"{gate}={on}" for gate, on in gates.items()), values)
    if is_combined(component, name):
        return EffectiveArgument(name, ",".join(item for given in values for item in string_slice(given.value)), values)
    return EffectiveArgument(name, values[-1].value, values[-1:], values[:-1])
