"""Effective arguments of each Kubernetes component, and where each of them is set.

K3s passes its own arguments to every component. The operator's argument replaces K3s' argument of the same name;
with `+=` it follows it, with `-=` it precedes it (k3s, pkg/util/args.go). If an argument is given several times, a
component uses the last value, or combines all.

The kubelet also reads configuration files, and any argument overrides all of them (kubernetes,
cmd/kubelet/app/server.go).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from agent.base.errors import HardenError, HostError, InputError
from agent.base.host.directories import Total
from agent.base.host.tree import Tree
from agent.base.linux.file_systems import DIRECTORY
from agent.base.model import Location, Unreadable
from agent.base.value import Value, replace
from agent.harden.node.arguments import defaults
from agent.harden.node.arguments.unknown import unknown_arguments
from agent.harden.node.facts import HostFacts
from agent.k3s.component_configuration import kubelet_sources, other_spelling_of_config_dir
from agent.k3s.components.effective_arguments import (
    FEATURE_GATES,
    EffectiveArgument,
    EffectiveArguments,
    Given,
    GivenBy,
    UnknownArgument,
)
from agent.k3s.components.tables import is_combined
from agent.k3s.config import component_argument, string_slice
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DEFAULTS_FILE, Channel
from agent.k3s.roles_and_versions import Component


class KubeletFile(Value):
    """A file of the kubelet's configuration."""

    path: PurePosixPath
    data: bytes = b""
    problem: str = ""
    """Why it could not be read."""

    @property
    def is_written_by_k3s(self) -> bool:
        """Whether K3s writes the file at each start."""
        return str(self.path).endswith(KUBELET_DEFAULTS_FILE)


class KubeletFiles(Value):
    """The kubelet's configuration files."""

    files: tuple[KubeletFile, ...] = ()
    """In the kubelet's order: a later file overrides an earlier one."""
    problem: str = ""
    """Why the list of files could not be determined."""

    @property
    def are_default(self) -> bool:
        """Whether the operator has no such file."""
        return not self.problem and all(file.is_written_by_k3s for file in self.files)


def read_kubelet_files(tree: Tree, facts: HostFacts, unreadable: list[HardenError]) -> KubeletFiles:
    """Read the files. Adds to `unreadable` what could not be read, except of the file of K3s."""
    try:
        paths = _paths(tree, facts)
    except ValueError as error:
        return KubeletFiles(problem=str(error))
    except HostError as error:
        unreadable.append(error)
        return KubeletFiles(problem=error.message)
    total = Total("configuration files of the kubelet")
    found = []
    for path in paths:
        file = KubeletFile(path)
        try:
            data = tree.read(path)
            total.add(len(data or b""))
        except HostError as error:
            file = KubeletFile(path, problem=error.message)
            if not file.is_written_by_k3s:
                unreadable.append(error)
        else:
            missing = "it is a dangling symlink" if tree.link_target(path) is not None else "there is no such file"
            file = KubeletFile(path, data or b"", f"cannot read {path}: {missing}" if data is None else "")
        found.append(file)
    return KubeletFiles(tuple(found))


def _paths(tree: Tree, facts: HostFacts) -> tuple[PurePosixPath, ...]:
    """Return the files that the kubelet reads at K3s' next start, each with its present path.

    Raises ValueError for a relative path, and HostError for a directory that cannot be read.
    """
    found: dict[tuple[str, ...], PurePosixPath] = {}
    for source in kubelet_sources(facts.merged_config, facts.version, facts.data_dir):
        files = _dropins(tree, source.path) if source.is_directory else {(): source.path}
        found.update({(*source.names, *names): path for names, path in files.items()})
    return tuple(found[names] for names in sorted(found))


def _dropins(tree: Tree, directory: PurePosixPath) -> dict[tuple[str, ...], PurePosixPath]:
    """Return the *.conf files at any depth, by their path parts, by which the kubelet sorts them."""
    found = {}
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        for entry in tree.entries(here):
            if isinstance(entry, Unreadable):
                raise HostError(f"cannot read {entry.id}: {entry.reason}")
            path = here / entry.name
            if entry.kind == DIRECTORY:
                waiting.append(path)
            elif path.suffix == ".conf" or entry.name == ".conf":
                found[path.relative_to(directory).parts] = path
    return found


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
        from agent.k3s.components.files.decoding import fields_of

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
