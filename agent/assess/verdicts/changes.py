"""What has to be changed for an argument to meet its check, with the exact text and the place that it goes to."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.arguments import GivenBy
from agent.assess.places import split_place
from agent.desired.dropin_options import ADMISSION_PLUGINS_FLAG
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
from agent.k3s.kubelet_configuration import as_field
from agent.k3s.services import OPENRC_DIRECTORY
from agent.node.facts import RANCHER_DROPIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.assess.arguments import Argument, Given
    from agent.assess.verdicts.node import AssessedNode
    from agent.benchmark.check import Flag
    from agent.guide.criteria import Criterion
    from agent.k3s.config import Dropped
    from agent.model import Location


def corrected(check: Flag, argument: Argument, own: Given | None, node: AssessedNode) -> str:
    """What to do about a value that somebody gave; what else is in a list stays. `own` is what K3s gives itself."""
    wrong = [one for one in argument.given if not check.criterion.accepts(one.value)] or argument.given
    better = _suggested(check.criterion, argument.value)
    # Of authorizers K3s' own are all that is wanted; of plugins the operator's own would be lost.
    is_kept = check.name == ADMISSION_PLUGINS_FLAG or isinstance(check.criterion, Excludes)
    if own is not None and check.criterion.accepts(own.value) and not (is_kept and better):
        done = f"{_taken_out(check, wrong, node)}: K3s then sets it to {own.value} itself"
        return done if _is_ranchers(wrong, node) else f"{done}; {_restart(wrong, node)}"
    done = _set(check, better, wrong, node) if better else _taken_out(check, wrong, node)
    return done if _is_ranchers(wrong, node) else f"{done}, and {_restart(wrong, node)}"


def added(check: Flag, value: str, node: AssessedNode) -> str:
    """What to do about an argument that nobody gives, or that K3s gives as `value`."""
    better = _suggested(check.criterion, value)
    what = f"add `{check.name}={better}`" if better else f"give `{check.name}`"
    what += (
        f" in the list `{check.component.config_key}`" if not better else f" to the list `{check.component.config_key}`"
    )
    return what if node.facts.rancher_managed else f"{what} in {node.facts.configuration.path}, and restart K3s"


def kept(lost: Dropped) -> str:
    """What to do about a value that a later file drops."""
    return f"{with_plus(lost.key, lost.by)}, which drops what {lost.location} has; restart K3s"


def with_plus(key: str, begins: Location) -> str:
    """What lets a list add to what earlier files have in it."""
    return f"write `{key}+:` instead of `{key}:` at {begins}"


def _is_ranchers(given: Sequence[Given], node: AssessedNode) -> bool:
    """Whether Rancher wrote these values, and would write them again."""
    return node.facts.rancher_managed and any(_path(one).name == RANCHER_DROPIN for one in given)


def _taken_out(check: Flag, wrong: Sequence[Given], node: AssessedNode) -> str:
    if _is_ranchers(wrong, node):
        return f"take `{check.name}` out of `{check.component.config_key}`"
    return f"remove {_names(check, wrong)} at {_places(wrong)}"


def _set(check: Flag, better: str, wrong: Sequence[Given], node: AssessedNode) -> str:
    if _is_ranchers(wrong, node):
        return f"give `{check.name}={better}` in `{check.component.config_key}`"
    in_files = [one for one in wrong if one.by is GivenBy.KUBELET_FILE]
    texts = [as_field(check.name, better)] if in_files else []
    texts += [f"{check.name}={better}"] if len(in_files) < len(wrong) else []
    return f"set {' or '.join(f'`{text}`' for text in texts)} at {_places(wrong)}"


def _names(check: Flag, wrong: Sequence[Given]) -> str:
    """How the value is called where it stands: as an argument, or as a field of the kubelet's configuration."""
    names = (one.written.partition(": ")[0] or check.name for one in wrong)
    return " and ".join(f"`{name}`" for name in dict.fromkeys(names))


def _places(given: Sequence[Given]) -> str:
    return ", ".join(dict.fromkeys(one.where for one in given))


def _path(given: Given) -> PurePosixPath:
    return PurePosixPath(split_place(given.where)[0])


def _restart(changed: Sequence[Given], node: AssessedNode) -> str:
    """What has to be done for a change to count: systemd reads a unit anew only when it is told to."""
    if any(path.parent != OPENRC_DIRECTORY for path in {_path(one) for one in changed} & node.services):
        return "run `systemctl daemon-reload` and restart K3s"
    return "restart K3s"


def _suggested(criterion: Criterion, value: str) -> str:
    """A value that meets the criterion; "" where it depends on the site, or where there must be none."""
    names = [name for name in value.split(",") if name]
    better: list[str] = []
    match criterion:
        case Boolean() | Equals():
            better = [str(criterion)]
        case AtLeast():
            better = [str(max(criterion.least, criterion.example))]
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
