"""Arguments whose effective value could not be determined, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agent.base.model import Location
from agent.base.repair import Answer, Decide, Instruction, RunVerb, Step, moved_away
from agent.harden.node.arguments import defaults
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import HostFacts
from agent.k3s import default_arguments
from agent.k3s.components.effective_arguments import EffectiveArgument, UnknownArgument
from agent.k3s.default_arguments import DefaultArgument, Needs
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, Component, Version

_DECIDED_BY_FILE = {
    Component.KUBE_PROXY: ("", "`metricsBindAddress` (expected: unset, 127.0.0.1 or [::1])"),
    Component.SCHEDULER: ("profiling", "`enableProfiling` (expected: false)"),
}
"""The argument that a component ignores if `config` names a file ("" for all), and the field of that file.

(kubernetes, cmd/kube-proxy/app/options.go and cmd/kube-scheduler/app/options/deprecated.go)
"""

_REPLACED_BY_FILE = (
    ("anonymous-auth", Needs.NO_AUTHENTICATION_CONFIG, "`anonymous` (expected: `enabled: false`)"),
    (
        "authorization-mode",
        Needs.NO_AUTHORIZATION_CONFIG,
        "the `type` of each of `authorizers` (expected: Node and RBAC, and not AlwaysAllow)",
    ),
)
"""Arguments of the API server that K3s does not pass if the operator names a file, and the field of that file."""

_NEWEST_PATCH = 99


def unknown_arguments(
    component: Component, facts: HostFacts, found: Mapping[str, EffectiveArgument]
) -> dict[str, UnknownArgument]:
    """Return why arguments of a component are unknown, by name; under "" why all are."""
    unknown: dict[str, UnknownArgument] = {}
    about_all = _about_configuration(facts)
    if about_all is not None:
        unknown[""] = about_all
    rows = tuple(default_arguments.defaults_of(component))
    guesses = {defaults.default(row, facts) for row in rows}
    for name in dict.fromkeys(row.name for row in rows):
        argument = found.get(name)
        if argument is None or not guesses.isdisjoint(argument.given):
            reason = _version_reason([row for row in rows if row.name == name], facts)
            unknown.update({name: UnknownArgument(reason, steps=_with_version(facts))} if reason else {})
    if component in _DECIDED_BY_FILE and "config" in found:
        name, field = _DECIDED_BY_FILE[component]
        given = found["config"].given[-1]
        unknown.setdefault(name, _decided_by("config", given.value, given.location, field))
    if component is Component.API_SERVER:
        unknown.update({name: why for name, why in _about_api_server(facts) if name not in found})
    return unknown


def _about_configuration(facts: HostFacts) -> UnknownArgument | None:
    for error in facts.merged_config.startup_problems(facts.role):
        reason = f"K3s would not start with its configuration: {error.message}"
        return _corrected(reason, error.problem, error.location, *error.repair.steps)
    for error in facts.configuration.invalid_files:
        return _corrected(error.message, error.problem, error.location, moved_away(error.location.path))
    if facts.configuration.broken_links:
        link = facts.configuration.broken_links[0]
        reason = f"K3s ignores its configuration files because {link} is a symbolic link to a missing file"
        return _corrected(
            reason,
            "symbolic link to a missing file",
            Location(link),
            Instruction("restore the target of the link, or remove it,", Location(link)),
        )
    for unread in facts.configuration.unreadable:
        steps = unread.repair.steps or (Instruction("let root read the files of K3s' configuration"),)
        return UnknownArgument(unread.message, steps=(*steps, RunVerb("assess")))
    return None


def _corrected(reason: str, observation: str, location: Location, *steps: Step) -> UnknownArgument:
    """Return why arguments are unknown until one file is corrected."""
    return UnknownArgument(reason, observation, location, (*steps, RunVerb("assess")), awaits=location)


def _decided_by(argument: str, file: str, location: Location | None, field: str) -> UnknownArgument:
    reason = f"the file that `{argument}` names decides it, and its content could not be determined"
    step = Instruction(f"correct {field} in {file}")
    return UnknownArgument(reason, f"--{argument}={file}", location, (step,), file=file)


def _with_version(facts: HostFacts) -> tuple[Step, ...]:
    known = facts.version if facts.version_is_known else NEWEST_KNOWN
    example = known._replace(patch=1, build="+k3s1")
    answers = (
        Answer(str(example), "its defaults count", (RunVerb("assess", (f"--k3s-version {example}",)),)),
        Answer("Another", "`k3s --version` prints it on the host, and `assess` takes it as `--k3s-version`", ()),
    )
    return (Decide("Which release of K3s starts on this host?", answers),)


def _version_reason(rows: Iterable[DefaultArgument], facts: HostFacts) -> str:
    """Return why K3s' default for one argument is unknown for lack of its full version; empty if it is known."""
    rows = [row for row in rows if defaults.is_met(row.needs, facts)]
    if not facts.version_is_known:
        minors = range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)
        possible = [Version(1, minor, patch) for minor in minors for patch in (0, _NEWEST_PATCH)]
        reason = "it depends on the K3s version, which is not known"
    elif facts.version.patch == 0 and not facts.version.build:
        possible = [facts.version, facts.version._replace(patch=_NEWEST_PATCH)]
        reason = "it depends on the K3s patch release, which is not known"
    else:
        return ""
    # If K3s only renamed its own file, the argument is set in either version.
    values = [
        {"a file" if row.value.startswith(defaults.DATA_DIR) else row.value for row in rows if row.in_version(version)}
        for version in possible
    ]
    return reason if any(value != values[0] for value in values) else ""


def _about_api_server(facts: HostFacts) -> Iterator[tuple[str, UnknownArgument]]:
    for name, need, field in _REPLACED_BY_FILE:
        found = defaults.replacing_file(need, facts)
        if found is not None:
            argument, file, location = found
            yield name, _decided_by(argument, file, location, field)
    address = defaults.datastore_address(facts)
    if facts.datastore is Datastore.EXTERNAL and (address is None or defaults.is_etcd(address) is None):
        reason = "K3s passes it if the external datastore is etcd, which its address does not show"
        at = address.location if address else None
        find_out = Instruction("find out whether the external datastore is etcd; if so, set K3s' options for its files")
        for name in defaults.ETCD_FILES:
            yield name, UnknownArgument(reason, "datastore-endpoint" if at else "", at, (find_out,))
