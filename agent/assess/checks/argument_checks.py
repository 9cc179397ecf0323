"""Checks of component arguments, also of those that a field of a file decides which the operator names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from shlex import quote
from typing import Optional

from agent.assess.checks import argument_edits
from agent.assess.checks.answer import (
    UNDETERMINED,
    Answer,
    ControlStatus,
    Evidence,
    grep_count,
    moved_away,
    undetermined,
)
from agent.assess.checks.argument_edits import EVENT_RATE_LIMIT
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import ArgumentRequirement, Check
from agent.assess.checks.datastore_checks import no_etcd
from agent.assess.checks.host_paths import AUDIT_LOG_ARGUMENT
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Answer as Choice
from agent.base.repair import Decide, Edit, Repair, Restart, Run, RunVerb, Step
from agent.base.yaml_reader import Node, Scalar, YamlMapping, YamlSequence, first_object
from agent.findings import config_edits
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    AUDIT_POLICY_ARGUMENT,
    DISABLED_PLUGINS_ARGUMENT,
)
from agent.harden.guide.criteria import Criterion, ListExcludes, NotGiven
from agent.harden.node.arguments import defaults
from agent.harden.node.arguments.defaults import ETCD_FILES
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import not_run
from agent.k3s import admission_configuration, audit_policy, default_arguments
from agent.k3s.components.effective_arguments import EffectiveArgument, Given, GivenBy, UnknownArgument
from agent.k3s.config import component_argument, string_slice
from agent.k3s.go_values import accepted
from agent.k3s.redaction import WITHOUT_TLS
from agent.k3s.roles_and_versions import Component

_Problem = tuple[str, Optional[Location]]
"""What is wrong with a file, and where."""

_FIELDS = {
    "anonymous-auth": ("anonymous.enabled", "true"),
    "authorization-mode": ("authorizers[].type", ""),
    "metrics-bind-address": ("metricsBindAddress", ""),
    "profiling": ("enableProfiling", "true"),
}
"""By argument, the field that decides it, and the value without the field; empty for the component's own default.

After `[]`, the key is one of each item of a list. harden/node/arguments/unknown.py has the reason for each.
"""


def answer_by_file(
    name: str, criterion: Criterion, why: UnknownArgument, node: AssessedNode, *, unset_passes: bool
) -> Answer:
    """Return the answer for an unknown argument: by the file that decides it, if it can be read."""
    data = node.situation.k3s_files.contents.get(PurePosixPath(why.file)) if why.file else None
    if data is None or name not in _FIELDS:
        return undetermined(why)
    path, (field, default) = PurePosixPath(why.file), _FIELDS[name]
    try:
        root = first_object(data, path)
    except InputError:
        return undetermined(why)
    if not isinstance(root, YamlMapping):
        return undetermined(why)
    found = _scalars(root, field)
    value = ",".join(scalar.text for scalar in found) or default
    line = found[0].line if found else root.line
    shown = f"{field}: {value}" if found else f"{field} is not set"
    evidence = (Evidence(why.observation, why.location), Evidence(shown, Location(path, line)))
    if criterion.accepts(value) if value else unset_passes:
        return Answer(ControlStatus.PASS, shown, evidence, given_by=GivenBy.OPERATOR)
    return Answer(ControlStatus.FAIL, shown, evidence, repair=Repair(why.steps, Restart.K3S))


def _scalars(root: YamlMapping, path: str) -> list[Scalar]:
    nodes: list[Node] = [root]
    for key in path.split("."):
        inner = [
            found for node in nodes if isinstance(node, YamlMapping) and (found := node.get(key.removesuffix("[]")))
        ]
        nodes = [item for node in inner for item in (node.items if isinstance(node, YamlSequence) else (node,))]
    return [node for node in nodes if isinstance(node, Scalar) and node.value is not None]


_NO_LIMITS = f"K3s would not start: the plugin {EVENT_RATE_LIMIT} has no configuration"

_OTHER_OF_PAIR = {"etcd-certfile": "etcd-keyfile", "etcd-keyfile": "etcd-certfile"}
"""The API server exits if it has only one of both (etcd, client/pkg/transport/listener.go)."""


class ArgumentCheck(ArgumentRequirement, Check):
    """A component argument has an effective value that `criterion` accepts, from the operator or from K3s."""

    unset_passes: bool = False
    """Whether the component's own default meets the control."""

    is_decided_by_argument = True

    def answer(self, node: AssessedNode) -> Answer:
        reason = not_run(self.component, node.facts)
        if reason:
            return Answer(ControlStatus.NOT_APPLICABLE, reason=reason)
        arguments = node.arguments(self.component)
        why = arguments.why_unknown(self.name)
        if why:
            return answer_by_file(self.name, self.criterion, why, node, unset_passes=self.unset_passes)
        argument = arguments.get(self.name)
        return _unset(self, node) if argument is None else _set(self, argument, node)

    @property
    def expected(self) -> str:
        return f"--{self.name} {self._predicate}"

    @property
    def description(self) -> str:
        return f"`--{self.name}` of {self.component} {self._predicate}"

    @property
    def subject(self) -> str:
        return f"{self.component} --{self.name}"

    @property
    def is_met_by_k3s(self) -> bool:
        own = (row.example for row in default_arguments.defaults_of(self.component) if row.name == self.name)
        return self.unset_passes or any(map(self.criterion.accepts, own))

    @property
    def arguments(self) -> tuple[ArgumentRequirement, ...]:
        return (self,)

    @property
    def _predicate(self) -> str:
        may_be_unset = self.unset_passes and not isinstance(self.criterion, NotGiven)
        return f"{self.criterion.predicate}, or is not set" if may_be_unset else self.criterion.predicate


def _unset(check: ArgumentCheck, node: AssessedNode) -> Answer:
    evidence = tuple(_searched(check, node))
    if check.unset_passes or isinstance(check.criterion, NotGiven):
        return Answer(ControlStatus.PASS, "not set", evidence, given_by=GivenBy.K3S)
    if check.name in ETCD_FILES and node.facts.datastore is not Datastore.ETCD:
        return _of_etcd(check, node, evidence)
    for dropped in node.facts.merged_config.dropped:
        # A later file drops this compliant value, because it repeats the key of the list without `+`.
        argument = component_argument(dropped.value)
        is_same = (dropped.key, argument.name) == (check.component.config_key, check.name)
        if is_same and check.criterion.accepts(argument.value):
            shown = (Evidence(f"dropped: {dropped.value}", dropped.location), Evidence(f"{dropped.key}:", dropped.by))
            repair = node.by_hand((config_edits.appended_list(dropped.key, dropped.by),))
            return Answer(ControlStatus.FAIL, "not set", shown, repair=repair)
    option = defaults.option_behind(check.component, check.name, node.facts)
    if option is not None:
        evidence = (Evidence(option.written, option.location),)
    if check.name == argument_edits.ENCRYPTION_ARGUMENT:
        repair = argument_edits.not_encrypted(option, node)
    else:
        repair = argument_edits.repair_of_argument(check, None, (), None, node)
    return Answer(ControlStatus.FAIL, "not set", evidence, repair=repair)


def _searched(check: ArgumentCheck, node: AssessedNode) -> Iterator[Evidence]:
    """Yield each file that could set the argument."""
    facts = node.facts
    observation = (
        f"no configuration file sets --{check.name}, and K3s {facts.version} does not set it, so the default of"
        f" {check.component} applies"
    )
    commands = {file: grep_count(check.name, file) for file in facts.configuration.files}
    if check.component is Component.KUBELET:
        # The name of its field is another one.
        files = (file.path for file in node.situation.k3s_files.kubelet.files)
        commands.update({file: f"sudo cat {quote(str(file))}" for file in files})
    if not commands:
        command = _logged(check.component)
        yield Evidence(observation, source=f"K3s {facts.version}", repeat_with=command)
    for file, command in commands.items():
        yield Evidence(observation, Location(file), repeat_with=command)
        observation = f"--{check.name} is not set here either"


def _of_etcd(check: ArgumentCheck, node: AssessedNode, evidence: tuple[Evidence, ...]) -> Answer:
    """Return the answer if the API server has no file for etcd, and K3s does not run etcd here."""
    address = defaults.datastore_address(node.facts)
    if address is None or not defaults.is_etcd(address):
        alone = _other_alone(check, node)
        if alone is not None:
            return alone
    if address is None:
        return no_etcd(node)
    if not defaults.is_etcd(address):
        kind = address.value.partition(":")[0]
        reason = f"the external datastore is {kind}, not etcd, as its address at {address.location} shows"
        return _without_tls(node, ()) or Answer(ControlStatus.NOT_APPLICABLE, kind, reason=reason)
    key, path = ETCD_FILES[check.name], node.facts.configuration.path
    step = Decide(
        f"Which file has what `{key}` names?",
        (Choice("FILE", "K3s connects to etcd with it", (Edit(Location(path), new=f"{key}: FILE"),)),),
    )
    evidence = (Evidence(address.written, address.location), *evidence)
    return Answer(ControlStatus.FAIL, "not set", evidence, repair=Repair((step,), Restart.K3S))


def _other_alone(check: ArgumentCheck, node: AssessedNode) -> Answer | None:
    """Return the answer if the certificate or the key for etcd is set without the other."""
    other = node.arguments(check.component).get(_OTHER_OF_PAIR.get(check.name, ""))
    if other is None or not other.value:
        return None
    given = other.given[-1]
    return Answer(
        ControlStatus.FAIL,
        f"--{other.name} is set without --{check.name}, so K3s would not start",
        (Evidence(given.written or f"--{other.name}={given.value}", given.location),),
        repair=node.by_hand(argument_edits.removed(check.component, other, node)),
    )


def _set(check: ArgumentCheck, argument: EffectiveArgument, node: AssessedNode) -> Answer:
    evidence = tuple(_evidence(check, value) for value in argument.given)
    by = argument.given[-1].by
    found = f"--{check.name}={argument.value}"
    option = defaults.option_behind(check.component, check.name, node.facts) if by is GivenBy.K3S else None
    if option is not None:
        by = option.by
        evidence = (_evidence(check, option), *evidence)
    if check.criterion.accepts(argument.value) and (by is GivenBy.K3S or _can_be_parsed(check, argument)):
        if check.name in ETCD_FILES:
            rejected = _without_tls(node, evidence)
        else:
            rejected = _keeps_nothing(check, argument, node, evidence) or _rejected(check, argument, node, evidence)
        return rejected or Answer(ControlStatus.PASS, found, evidence, given_by=by)
    locations = [shown.location for shown in evidence if shown.location]
    repair = argument_edits.repair_of_argument(check, argument, locations, by, node)
    return Answer(ControlStatus.FAIL, found, evidence, repair=repair)


def _without_tls(node: AssessedNode, evidence: tuple[Evidence, ...]) -> Answer | None:
    """Return the answer if an external datastore is reached without TLS, which ignores the files."""
    address = defaults.datastore_address(node.facts)
    plain = {"http://": "https://", WITHOUT_TLS: "sslmode=verify-full"}
    old = next((text for text in plain if address is not None and text in address.value), "")
    if address is None or not old:
        return None
    shown = Evidence(address.written, address.location)
    location = address.location or Location(node.facts.configuration.path)
    repair = node.by_hand([Edit(location, old, plain[old])])
    return Answer(ControlStatus.FAIL, "the datastore is reached without TLS", (shown, *evidence), repair=repair)


def _can_be_parsed(check: ArgumentCheck, argument: EffectiveArgument) -> bool:
    from agent.k3s.components import tables, values  # few hosts set such an argument

    kind = tables.kind_of(check.component, check.name, tables.LAST_MINOR)  # the kinds are equal in all minors
    return kind is None or all(accepted(partial(values.parse, kind), item.value) is not None for item in argument.given)


def _keeps_nothing(
    check: ArgumentCheck, argument: EffectiveArgument, node: AssessedNode, evidence: tuple[Evidence, ...]
) -> Answer | None:
    """Return the answer if symlinks lead from the audit log to a device."""
    log = node.evidence.audit_log
    if check.name != AUDIT_LOG_ARGUMENT or log is None or check.criterion.accepts(str(log)):
        return None
    given, path = argument.given[-1], quote(argument.value)
    repair = Repair((Run(f"sudo rm {path}"),), Restart.K3S)
    if given.by is GivenBy.OPERATOR and given.location is not None:
        repair = argument_edits.repair_of_argument(check, argument, [given.location], given.by, node)
    location = Location(PurePosixPath(argument.value))
    shown = Evidence(f"it leads to {log}", location, repeat_with=f"readlink -f {path}")
    found = f"{argument.value} leads to {log}, which keeps nothing"
    return Answer(ControlStatus.FAIL, found, (*evidence, shown), repair=repair)


def _rejected(
    check: ArgumentCheck, argument: EffectiveArgument, node: AssessedNode, evidence: tuple[Evidence, ...]
) -> Answer | None:
    """Return the answer if the value is compliant but the API server exits because of it; None if it accepts it."""
    if (check.component, check.name) == (Component.API_SERVER, AUDIT_POLICY_ARGUMENT):
        return _by_file("audit policy", argument, partial(_problem_of_audit_policy, node=node), node, evidence)
    if (check.component, check.name) != (Component.API_SERVER, ADMISSION_PLUGINS_ARGUMENT):
        return None
    plugins = {*check.criterion.required} & {*argument.value.split(",")}
    disabled = node.arguments(check.component).get(DISABLED_PLUGINS_ARGUMENT)
    given = disabled.given if disabled else ()
    both = [(plugin, value) for value in given for plugin in sorted(plugins & {*string_slice(value.value)})]
    if disabled and both:
        found = f"the plugin {both[0][0]} is both enabled and disabled, so K3s would not start"
        shown = (Evidence(f"--{DISABLED_PLUGINS_ARGUMENT}={item.value}", item.location) for _, item in both)
        excluded = ArgumentRequirement(check.component, DISABLED_PLUGINS_ARGUMENT, ListExcludes(tuple(plugins)))
        repair = node.by_hand(argument_edits.corrected(excluded, disabled, node))
        return Answer(ControlStatus.FAIL, found, (*evidence, *shown), repair=repair)
    if EVENT_RATE_LIMIT not in plugins:
        return None
    enabled_at = argument.given[-1].location
    file = node.arguments(Component.API_SERVER).get(ADMISSION_CONFIGURATION_ARGUMENT)
    if file is None:
        repair = Repair(node.set_by("event-rate-limit") or (argument_edits.UPGRADE,), Restart.K3S)
        shown_at = Evidence(_NO_LIMITS, enabled_at)
        return Answer(ControlStatus.FAIL, _NO_LIMITS, (*evidence, shown_at), repair=repair)
    problem_of = partial(_problem_of_limits, named_at=file.given[-1].location, enabled_at=enabled_at)
    return _by_file("admission configuration", file, problem_of, node, evidence)


def _by_file(
    name: str,
    argument: EffectiveArgument,
    problem_of: Callable[[bytes, PurePosixPath], _Problem | None],
    node: AssessedNode,
    evidence: tuple[Evidence, ...],
) -> Answer | None:
    """Return the answer about a file that an argument names; None if `problem_of` finds no problem in it."""
    path, files = PurePosixPath(argument.value), node.situation.k3s_files.contents
    if path not in files:
        missing = f"K3s would not start: its {name} is missing", argument.given[-1].location
        return _unusable(argument, missing, node, evidence)
    data = files[path]
    if data is None:
        shown = (*evidence, Evidence("cannot be read", Location(path)))
        reason = f"{path} cannot be read, and K3s does not start if it is invalid"
        return Answer(ControlStatus.UNKNOWN, UNDETERMINED, shown, reason, moved_away(path))
    problem = problem_of(data, path)
    return _unusable(argument, problem, node, evidence) if problem else None


def _problem_of_audit_policy(data: bytes, path: PurePosixPath, node: AssessedNode) -> _Problem | None:
    if node.situation.is_as_applied(path):
        return None
    for problem in audit_policy.rejected_by_version(data, path, node.facts.known_version):
        return f"K3s would not start: its audit policy is invalid: {problem.problem}", problem.location
    line = audit_policy.why_nothing_is_logged(data, path)
    return ("the audit policy logs no request", Location(path, line)) if line is not None else None


def _problem_of_limits(
    data: bytes, path: PurePosixPath, named_at: Location | None, enabled_at: Location | None
) -> _Problem | None:
    try:
        plugins = admission_configuration.configured_plugins(data, path)
    except InputError as error:
        return f"K3s would not start: its admission configuration is invalid: {error.problem}", named_at
    return None if EVENT_RATE_LIMIT in plugins else (_NO_LIMITS, enabled_at)


def _unusable(
    argument: EffectiveArgument, problem: _Problem, node: AssessedNode, evidence: tuple[Evidence, ...]
) -> Answer:
    """Return the answer if the API server rejects a file that it reads at its start, or if the file has no effect."""
    repair, path = Repair((RunVerb("apply"),)), PurePosixPath(argument.value)
    if argument.value not in node.pending:
        # Without the argument, apply sets that of its own file.
        own: tuple[Step, ...] = (*argument_edits.removed(Component.API_SERVER, argument, node), RunVerb("apply"))
        repair = Repair(node.rewritten(path) or own, Restart.K3S)
    return Answer(ControlStatus.FAIL, problem[0], (*evidence, Evidence(*problem)), repair=repair)


def _evidence(check: ArgumentCheck, given: Given) -> Evidence:
    command = "" if given.location else _logged(check.component)
    observation = given.written or f"--{check.name}={given.value}"
    return Evidence(observation, given.location, given.source, repeat_with=command)


def _logged(component: Component) -> str:
    """Return the command that prints the arguments with which K3s started a component."""
    return f"sudo journalctl --identifier=k3s --output=cat | grep 'Running {component} '"
