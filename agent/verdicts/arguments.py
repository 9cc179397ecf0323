"""Verdicts on the arguments of the components that K3s runs, whoever gave them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent import component_arguments
from agent.assessment import Evidence as Shown
from agent.assessment import Status
from agent.component_arguments import GivenBy
from agent.facts import Datastore
from agent.guide.criteria import (
    AbsolutePath,
    AtLeast,
    Boolean,
    Duration,
    Equals,
    Excludes,
    Includes,
    IncludesOneOf,
    LeavesGateOn,
    Loopback,
    NotGiven,
    Present,
    SubsetOf,
)
from agent.guide.files import K3S_CONFIG_FILE
from agent.k3s_config import component_flag
from agent.k3s_units import OPENRC_DIRECTORY
from agent.places import split_place
from agent.verdicts.answer import LOOK_AT_IT, Answer
from agent.verdicts.datastore import no_etcd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.benchmark.check import Flag
    from agent.component_arguments import Argument, Given
    from agent.guide.criteria import Criterion
    from agent.k3s_config import Dropped
    from agent.verdicts.node import AssessedNode


def answer(check: Flag, node: AssessedNode) -> Answer:
    """Whether a component has the argument that the check wants, or a default that meets it."""
    why = component_arguments.not_run(check.component, node.facts)
    if why:
        return Answer(Status.NOT_APPLICABLE, reason=why)
    arguments = node.arguments(check.component)
    doubt = arguments.doubt(check.name)
    if doubt:
        return Answer(Status.UNKNOWN, "cannot be told", reason=doubt, remedy=LOOK_AT_IT)
    argument = arguments.get(check.name)
    return _unset(check, node) if argument is None else _set(check, argument, node)


def _unset(check: Flag, node: AssessedNode) -> Answer:
    what = (
        f"--{check.name} is given neither here nor by K3s {node.facts.version}, so {check.component}'s default applies"
    )
    shown = Shown(what, str(node.facts.config_path))
    if check.unset_passes or isinstance(check.criterion, NotGiven):
        return Answer(Status.PASS, "not set", (shown,), by=GivenBy.K3S)
    if check.name.startswith("etcd-") and node.facts.datastore is not Datastore.ETCD:
        return no_etcd(node)
    lost = _lost(check, node)
    if lost is not None:
        places = (Shown(f"lost: {lost.value}", str(lost.source)), Shown(f"{lost.key}:", str(lost.by)))
        return Answer(
            Status.FAIL, "not set", places, remedy=_kept(lost), by=GivenBy.OPERATOR, remedy_is_for_this_host=True
        )
    return Answer(Status.FAIL, "not set", (shown,), remedy=_added(check, ""))


def _lost(check: Flag, node: AssessedNode) -> Dropped | None:
    """A value that meets the check, and that a later file has dropped by repeating the key of the list without `+`."""
    for dropped in node.facts.effective.dropped:
        if dropped.key == check.component.config_key:
            flag = component_flag(dropped.value)
            if flag.name == check.name and check.criterion.accepts(flag.value):
                return dropped
    return None


def _kept(lost: Dropped) -> str:
    return (
        f"write `{lost.key}+:` instead of `{lost.key}:` at {lost.by}, which drops what {lost.source} has; restart K3s"
    )


def _set(check: Flag, argument: Argument, node: AssessedNode) -> Answer:
    given = tuple(Shown(f"--{check.name}={one.value}", one.where) for one in argument.given)
    by = argument.given[-1].by
    found = f"--{check.name}={argument.value}"
    if check.criterion.accepts(argument.value):
        return Answer(Status.PASS, found, given, by=by)
    if by is GivenBy.K3S:
        return Answer(Status.FAIL, found, given, remedy=_added(check, argument.value), by=by)
    own = component_arguments.by_k3s(check.component, check.name, node.facts)
    return Answer(Status.FAIL, found, given, remedy=_corrected(check, argument, own, node), by=by)


def _corrected(check: Flag, argument: Argument, own: Given | None, node: AssessedNode) -> str:
    """What to do about a value that somebody gave; what else is in a list stays."""
    wrong = [one for one in argument.given if not check.criterion.accepts(one.value)] or argument.given
    places = ", ".join(dict.fromkeys(one.where for one in wrong))
    restart = _restart(wrong, node)
    better = _suggested(check.criterion, argument.value)
    if (
        own is not None
        and check.criterion.accepts(own.value)
        and not (isinstance(check.criterion, Excludes) and better)
    ):
        return f"remove `{check.name}` at {places}: K3s then sets it to {own.value} itself; {restart}"
    what = f"set `{check.name}={better}`" if better else f"remove `{check.name}`"
    return f"{what} at {places}, and {restart}"


def _restart(changed: Sequence[Given], node: AssessedNode) -> str:
    """What has to be done for a change to count: systemd reads a unit anew only when it is told to."""
    paths = {PurePosixPath(split_place(one.where)[0]) for one in changed} & node.services
    if any(path.parent != OPENRC_DIRECTORY for path in paths):
        return "run `systemctl daemon-reload` and restart K3s"
    return "restart K3s"


def _added(check: Flag, value: str) -> str:
    better = _suggested(check.criterion, value)
    if not better:
        return f"give --{check.name} in `{check.component.config_key}` in {K3S_CONFIG_FILE}, and restart K3s"
    return (
        f"add `{check.name}={better}` to the list `{check.component.config_key}` in {K3S_CONFIG_FILE}, and restart K3s"
    )


def _suggested(criterion: Criterion, value: str) -> str:
    """A value that meets the criterion; "" where it depends on the site, or where there must be none."""
    names = [name for name in value.split(",") if name]
    better: list[str] = []
    match criterion:
        case Boolean() | Equals():
            better = [str(criterion)]
        case AtLeast():
            better = [str(criterion.least)]
        case Duration():
            better = [criterion.example]
        case Includes():
            better = [*names, *criterion.names]
        case Excludes():
            better = [name for name in names if name not in criterion.names]
        case SubsetOf():
            better = [name for name in names if name in criterion.names] or [*criterion.names]
        case LeavesGateOn():
            better = [name for name in names if criterion.accepts(name)]
        case AbsolutePath() | IncludesOneOf() | Present() | NotGiven() | Loopback():
            pass
    return ",".join(dict.fromkeys(better))
