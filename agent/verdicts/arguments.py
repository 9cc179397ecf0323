"""Arguments of the components that K3s runs, whoever gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import component_arguments
from agent.assessment import Evidence as Shown
from agent.assessment import Status
from agent.component_arguments import GivenBy
from agent.facts import Datastore
from agent.guide.criteria import AtLeast, Boolean, Duration, Equals, Excludes, Includes, NotGiven, SubsetOf
from agent.verdicts.look import Answer, no_etcd

if TYPE_CHECKING:
    from agent.benchmark.check import Flag
    from agent.component_arguments import Argument
    from agent.guide.criteria import Criterion
    from agent.verdicts.look import Look


def answer(check: Flag, look: Look) -> Answer:
    """Whether a component has the argument that the check wants, or a default that will do."""
    flag = f"--{check.name}"
    wanted = f"{flag} {in_words(check.criterion)}" + (
        ", or not set" if check.unset_passes and not isinstance(check.criterion, NotGiven) else ""
    )
    why = component_arguments.not_run(check.component, look.facts)
    if why:
        return Answer(Status.NOT_APPLICABLE, wanted, reason=why)
    arguments = look.arguments(check.component)
    doubt = arguments.doubt(check.name)
    if doubt:
        return Answer(Status.UNKNOWN, wanted, "cannot be told", reason=doubt)
    argument = arguments.get(check.name)
    return _unset(check, look, wanted) if argument is None else _set(check, argument, wanted)


def _unset(check: Flag, look: Look, wanted: str) -> Answer:
    where = f"{check.component} of K3s {look.facts.version}"
    shown = (Shown(f"--{check.name} is not given, so its own default counts", where),)
    if check.unset_passes or isinstance(check.criterion, NotGiven):
        return Answer(Status.PASS, wanted, "not set", shown, by=GivenBy.K3S)
    if check.name.startswith("etcd-") and look.facts.datastore is not Datastore.ETCD:
        return no_etcd(wanted, look)
    return Answer(Status.FAIL, wanted, "not set", shown, remedy=_added(check, ""))


def _set(check: Flag, argument: Argument, wanted: str) -> Answer:
    given = tuple(Shown(f"--{check.name}={one.value}", one.where) for one in argument.given)
    by = argument.given[-1].by
    found = f"--{check.name}={argument.value}"
    if check.criterion.accepts(argument.value):
        return Answer(Status.PASS, wanted, found, given, by=by)
    remedy = _added(check, argument.value) if by is GivenBy.K3S else _corrected(check, argument)
    return Answer(Status.FAIL, wanted, found, given, remedy=remedy, by=by)


def _corrected(check: Flag, argument: Argument) -> str:
    """What to do about a value that somebody gave; what else is in a list stays."""
    wrong = [one for one in argument.given if not check.criterion.accepts(one.value)] or argument.given
    places = ", ".join(dict.fromkeys(one.where for one in wrong))
    better = _suggested(check.criterion, argument.value)
    what = f"make it `{check.name}={better}`" if better else f"take `{check.name}` out"
    return f"{what} at {places}, and restart K3s"


def _added(check: Flag, value: str) -> str:
    better = _suggested(check.criterion, value)
    if not better:
        return f"give --{check.name} in `{check.component.config_key}` in /etc/rancher/k3s/config.yaml, and restart K3s"
    return (
        f"add `{check.name}={better}` to the list `{check.component.config_key}` in /etc/rancher/k3s/config.yaml,"
        " and restart K3s"
    )


def _suggested(criterion: Criterion, value: str) -> str:
    """A value that would do; "" where it depends on the site, or where there is to be none."""
    names = [name for name in value.split(",") if name]
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
            better = [*criterion.names]
        case _:
            better = []
    return ",".join(dict.fromkeys(better))


def in_words(criterion: Criterion) -> str:
    """A criterion as the end of a sentence that begins with a name."""
    return f"is {criterion}" if isinstance(criterion, Boolean | Equals | NotGiven) else f"has {criterion}"
