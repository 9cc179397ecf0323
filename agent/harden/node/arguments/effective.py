"""Effective arguments of each Kubernetes component, and where each of them is set.

K3s passes its own arguments to every component. The operator's argument replaces K3s' argument of the same name;
with `+=` it follows it, with `-=` it precedes it (k3s, pkg/util/args.go). If an argument is given several times, a
component uses the last value, or combines all.

The kubelet also reads configuration files, and any argument overrides all of them (kubernetes,
cmd/kubelet/app/server.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.value import replace
from agent.harden.node.arguments import defaults
from agent.harden.node.arguments.unknown import unknown_arguments
from agent.k3s.component_configuration import other_spelling_of_config_dir
from agent.k3s.components.effective_arguments import (
    EffectiveArgument,
    EffectiveArguments,
    Given,
    GivenBy,
    UnknownArgument,
)
from agent.k3s.components.gates import FEATURE_GATES
from agent.k3s.components.tables import is_combined
from agent.k3s.config import component_argument, string_slice
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, Channel
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.errors import InputError
    from agent.harden.node.arguments.kubelet_files import KubeletFiles
    from agent.harden.node.facts import HostFacts

_OF_OPTIONS = {"node-labels": "node-label", "register-with-taints": "node-taint"}
"""Arguments of the kubelet that K3s passes on from an option of its own (k3s, pkg/daemons/agent/agent_linux.go)."""


def effective_arguments(component: Component, facts: HostFacts, kubelet: KubeletFiles) -> EffectiveArguments:
    """Return a component's effective arguments on this host.

    They are those of K3s' configuration, of default_arguments.tsv and of the kubelet's files, not all that K3s sets.
    """
    arguments = _on_the_command_line(component, facts)
    in_files: dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]] = {}
    problems: tuple[InputError, ...] = ()
    if component is Component.KUBELET:
        in_files, problems = _in_files(facts, kubelet)
    found = {}
    for name in (*arguments, *(name for name in in_files if name not in arguments)):
        values, overridden = in_files.get(name, ((), ()))
        if name in arguments and name != FEATURE_GATES:
            overridden, values = (*overridden, *values), ()
        given = (*values, *arguments.get(name, ()))
        if given:
            argument = _combined(component, name, given)
            found[name] = replace(argument, overridden=(*overridden, *argument.overridden))
    unknown = unknown_arguments(component, facts, found)
    why = _why_files_are_unknown(kubelet, problems) if component is Component.KUBELET else None
    if why is not None:
        from agent.k3s.components.files.field_table import fields_of

        for path, field in fields_of("KubeletConfiguration", facts.version.minor).items():
            name = field.argument or path
            if name == FEATURE_GATES or name not in arguments:
                unknown.setdefault(name, why)
    return EffectiveArguments(component, found, unknown, problems)


def _why_files_are_unknown(kubelet: KubeletFiles, problems: tuple[InputError, ...]) -> UnknownArgument | None:
    if kubelet.problem:
        return UnknownArgument(kubelet.problem)
    unread = [(file.problem, file.path) for file in kubelet.files if file.problem]
    unread += [(problem.message, problem.location.path) for problem in problems]
    return next((UnknownArgument(reason, "cannot be read", Location(path)) for reason, path in unread), None)


def _on_the_command_line(component: Component, facts: HostFacts) -> dict[str, tuple[Given, ...]]:
    """Return all values of each argument in the order in which K3s passes them."""
    key, config = component.config_key, facts.merged_config
    rows = defaults.in_force(component, facts)
    found: dict[str, tuple[Given, ...]] = {
        row.name: (defaults.default(row, facts),) for row in rows if row.channel is Channel.ARGUMENT
    }
    if component is Component.API_SERVER:
        found.update({name: (given,) for name, given in defaults.of_external_etcd(facts)})
    if component is Component.KUBELET:
        for name, option in _OF_OPTIONS.items():
            if items := config.items(option):  # K3s joins the items to one value
                text = ",".join(item.text for item in items)
                given = defaults.by_operator(text, items[-1].location, facts)
                found[name] = (given._replace(written=f"{option}: {text}", field=option),)
        if facts.version.minor < FIRST_WITH_KUBELET_FILES:
            found.update(_protect_kernel_defaults(facts))
    for name, values in config.component_arguments(key).items():
        written = tuple(
            defaults.by_operator(text, at, facts)._replace(written=spelling and f"--{spelling}={text}", field=spelling)
            for text, at, spelling in values
        )
        own = found.get(name, ())
        if own and not config.keeps_default(key, name):  # which reads all items
            own = ()
        forms = (component_argument(value.text) for value in config.items(key))
        first = sum(argument.spelling == name and argument.form == "-" for argument in forms) if own else 0
        found[name] = (*written[:first], *own, *written[first:])
    return found


def _protect_kernel_defaults(facts: HostFacts) -> dict[str, tuple[Given, ...]]:
    """Return the value of K3s' option, which K3s passes to the kubelet."""
    name = defaults.PROTECT_KERNEL_DEFAULTS
    option = defaults.own_option(name, facts)
    return {name: (option,)} if option and facts.merged_config.boolean(name) is not None else {}


def _in_files(
    facts: HostFacts, kubelet: KubeletFiles
) -> tuple[dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]], tuple[InputError, ...]]:
    """Return by name the values of the kubelet's files and those that they override, and the problems of files."""
    found: dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]] = {}
    for name, given in _defaults_of_files(facts, kubelet):
        earlier, overridden = found.get(name, ((), ()))
        found[name] = (given,), (*overridden, *earlier)
    if not kubelet.files:
        return found, ()
    from agent.k3s.components.files.fields import read_fields  # its tables take time to load

    contents = [(file.path, file.data) for file in kubelet.files if not file.problem]
    fields, problems = read_fields(Component.KUBELET, contents, facts.version.minor)
    of_k3s = {file.path for file in kubelet.files if file.is_written_by_k3s}
    for field in fields:
        values = field.given
        if values and values[0].location and values[0].location.path in of_k3s:
            if field.name == defaults.PROTECT_KERNEL_DEFAULTS:
                continue  # K3s writes the file again at its next start, with the value of its option
            values = tuple(given._replace(by=GivenBy.K3S) for given in values)
        earlier, overridden = found.get(field.name, ((), ()))
        is_merged = field.is_merged and values
        found[field.name] = ((*earlier, *values), overridden) if is_merged else (values, (*overridden, *earlier))
    return found, problems


def _defaults_of_files(facts: HostFacts, kubelet: KubeletFiles) -> Iterator[tuple[str, Given]]:
    """Yield what the kubelet has unless a file of the operator sets it, lowest precedence first."""
    rows = tuple(defaults.in_force(Component.KUBELET, facts))
    yield from ((row.name, defaults.default(row, facts)) for row in rows if row.channel is Channel.BUILT_IN)
    if other_spelling_of_config_dir(facts.merged_config) is None and facts.version.minor >= FIRST_WITH_KUBELET_FILES:
        if not any(file.is_written_by_k3s for file in kubelet.files):
            yield from ((row.name, defaults.default(row, facts)) for row in rows if row.channel is Channel.KUBELET_FILE)
        yield from ((name, given) for name, (given,) in _protect_kernel_defaults(facts).items())


def _combined(component: Component, name: str, values: tuple[Given, ...]) -> EffectiveArgument:
    if name == FEATURE_GATES:
        pairs = [pair.strip().partition("=") for given in values for pair in given.value.split(",") if pair.strip()]
        # Newer components accept `component:gate=…`, and their own gates without the prefix.
        gates = {gate.removeprefix("kube:"): on for gate, _, on in pairs}
        return EffectiveArgument(name, ",".join(f"{gate}={on}" for gate, on in gates.items()), values)
    if is_combined(component, name):
        return EffectiveArgument(name, ",".join(item for given in values for item in string_slice(given.value)), values)
    last = values[-1]
    count = sum(given.location == last.location for given in values) if last.is_field else 1  # a field can be a list
    return EffectiveArgument(name, last.value, values[-count:], values[:-count])
