"""Verdicts on the arguments of the components that K3s runs, whoever gave them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess import arguments as component_arguments
from agent.assess.arguments import ETCD_FILES, GivenBy
from agent.assess.assessment import ControlStatus
from agent.assess.assessment import Evidence as Shown
from agent.assess.verdicts import changes
from agent.assess.verdicts.answer import LOOK_AT_IT, Answer, doubtful, steps
from agent.assess.verdicts.datastore import no_etcd
from agent.desired.dropin_options import (
    ADMISSION_CONFIGURATION_FLAG,
    ADMISSION_PLUGINS_FLAG,
    AUDIT_POLICY_FLAG,
    DISABLED_PLUGINS_FLAG,
)
from agent.findings.k3s_startup import admission_configuration_unusable, audit_policy_unusable
from agent.guide.criteria import Includes, IncludesOneOf, NotGiven
from agent.k3s.config import component_argument
from agent.model import Component
from agent.node.datastore import Datastore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.assess.arguments import Argument, Given
    from agent.assess.verdicts.node import AssessedNode
    from agent.benchmark.check import Flag
    from agent.findings.registry import Trouble
    from agent.k3s.config import Dropped


def answer(check: Flag, node: AssessedNode) -> Answer:
    """Whether a component has the argument that the check wants, or a default that meets it."""
    why = component_arguments.not_run(check.component, node.facts)
    if why:
        return Answer(ControlStatus.NOT_APPLICABLE, reason=why)
    arguments = node.arguments(check.component)
    doubt = arguments.doubt(check.name)
    if doubt:
        return doubtful(doubt)
    argument = arguments.get(check.name)
    return _unset(check, node) if argument is None else _set(check, argument, node)


def _unset(check: Flag, node: AssessedNode) -> Answer:
    shown = tuple(_searched(check, node))
    if check.unset_passes or isinstance(check.criterion, NotGiven):
        return Answer(ControlStatus.PASS, "not set", shown, by=GivenBy.K3S)
    if check.name in ETCD_FILES and node.facts.datastore is not Datastore.ETCD:
        return _of_etcd(check, node, shown)
    lost = _lost(check, node)
    if lost is not None:
        places = (Shown(f"lost: {lost.value}", str(lost.location)), Shown(f"{lost.key}:", str(lost.by)))
        return Answer(
            ControlStatus.FAIL,
            "not set",
            places,
            remedy=changes.kept(lost),
            by=GivenBy.OPERATOR,
            remedy_is_for_this_host=True,
        )
    option = component_arguments.option_behind(check.component, check.name, node.facts)
    if option is not None:
        shown = (Shown(option.written, option.where),)
    return Answer(ControlStatus.FAIL, "not set", shown, remedy=changes.added(check, "", node))


def _searched(check: Flag, node: AssessedNode) -> Iterator[Shown]:
    """Each file that could have set the argument, and does not."""
    facts = node.facts
    what = (
        f"no configuration file sets --{check.name}, and K3s {facts.version} does not, so {check.component}'s default"
        " applies"
    )
    files = [*facts.configuration.files]
    if check.component is Component.KUBELET:
        files += [file.path for file in node.evidence.kubelet.files]
    if not files:
        yield Shown(what, f"K3s {facts.version}")
    for file in files:
        yield Shown(what, str(file))
        what = f"--{check.name} is not set here either"


def _of_etcd(check: Flag, node: AssessedNode, shown: tuple[Shown, ...]) -> Answer:
    """What it means that the API server has none of the files for etcd, where K3s runs no etcd here."""
    address = component_arguments.datastore_address(node.facts)
    if address is None:
        return no_etcd(node)
    if not component_arguments.is_etcd(address):
        kind = address.value.partition(":")[0]
        reason = f"the datastore here is external, and by its address at {address.where} it is {kind}, not etcd"
        return Answer(ControlStatus.NOT_APPLICABLE, kind, reason=reason)
    key = ETCD_FILES[check.name]
    remedy = f"set `{key}` to the path of that file in {node.facts.configuration.path}, and restart K3s"
    return Answer(ControlStatus.FAIL, "not set", (Shown(address.written, address.where), *shown), remedy=remedy)


def _lost(check: Flag, node: AssessedNode) -> Dropped | None:
    """A value that meets the check, and that a later file has dropped by repeating the key of the list without `+`."""
    for dropped in node.facts.merged_config.dropped:
        if dropped.key == check.component.config_key:
            flag = component_argument(dropped.value)
            if flag.name == check.name and check.criterion.accepts(flag.value):
                return dropped
    return None


def _set(check: Flag, argument: Argument, node: AssessedNode) -> Answer:
    given = tuple(_shown(check, one) for one in argument.given)
    by = argument.given[-1].by
    found = f"--{check.name}={argument.value}"
    own = component_arguments.by_k3s(check.component, check.name, node.facts)
    option = component_arguments.option_behind(check.component, check.name, node.facts) if by is GivenBy.K3S else None
    if option is not None:
        by = option.by
        given = (_shown(check, option), *given)
    if check.criterion.accepts(argument.value):
        refused = _refused(check, argument, node, given)
        return refused or Answer(ControlStatus.PASS, found, given, by=by)
    if by is GivenBy.K3S:
        return Answer(ControlStatus.FAIL, found, given, remedy=changes.added(check, argument.value, node), by=by)
    return Answer(ControlStatus.FAIL, found, given, remedy=changes.corrected(check, argument, own, node), by=by)


def _refused(check: Flag, argument: Argument, node: AssessedNode, given: tuple[Shown, ...]) -> Answer | None:
    """The answer where the value is right and the API server exits at it all the same; None where it does not."""
    if check.component is not Component.API_SERVER:
        return None
    if check.name == AUDIT_POLICY_FLAG:
        return _unusable(PurePosixPath(argument.value), audit_policy_unusable(node.seen), node, given)
    if check.name != ADMISSION_PLUGINS_FLAG or not isinstance(check.criterion, Includes | IncludesOneOf):
        return None
    plugins = {*check.criterion.names} & {*argument.value.split(",")}
    off = node.arguments(check.component).get(DISABLED_PLUGINS_FLAG)
    for one in off.given if off else ():
        for plugin in sorted(plugins & {*one.value.split(",")}):
            shown = Shown(f"--{DISABLED_PLUGINS_FLAG}={one.value}", one.where)
            found = f"{plugin} is both enabled and disabled, so K3s would not start"
            remedy = f"take {plugin} out of `{DISABLED_PLUGINS_FLAG}` at {one.where}"
            return Answer(ControlStatus.FAIL, found, (*given, shown), remedy=remedy, remedy_is_for_this_host=True)
    if "EventRateLimit" in plugins:
        file = node.arguments(check.component).get(ADMISSION_CONFIGURATION_FLAG)
        path = PurePosixPath(file.value) if file else None
        return _unusable(path, admission_configuration_unusable(node.seen), node, given)
    return None


def _unusable(
    path: PurePosixPath | None, troubles: Iterator[Trouble], node: AssessedNode, given: tuple[Shown, ...]
) -> Answer | None:
    """The answer where a file that the API server reads at its start is not what it can use; None where it is."""
    trouble = next(troubles, None)
    if trouble is not None:
        return Answer(
            ControlStatus.FAIL,
            trouble.message,
            (*given, Shown(trouble.message, str(trouble.location or ""))),
            remedy=steps(trouble.remediation),
            remedy_is_for_this_host=str(path) not in node.pending,
            needs=frozenset({str(path)}),
        )
    if path is not None and node.seen.k3s_files.contents.get(path, b"") is None:
        shown = Shown("cannot be read", str(path))
        reason = f"{path} cannot be read, and K3s does not start where it is not what it has to be"
        return Answer(ControlStatus.UNKNOWN, "cannot be told", (*given, shown), reason, LOOK_AT_IT)
    return None


def _shown(check: Flag, given: Given) -> Shown:
    return Shown(given.written or f"--{check.name}={given.value}", given.where)
