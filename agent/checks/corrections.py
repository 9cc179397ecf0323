"""Edits with which an argument meets its check: the exact text, and its location."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.checks.argument_values import GivenBy
from agent.desired.dropin_options import ADMISSION_PLUGINS_ARGUMENT
from agent.guide.criteria import Excludes
from agent.k3s.config import component_argument
from agent.k3s.kubelet_configuration import as_field
from agent.k3s.options import VARIABLES
from agent.model import Instruction, Location, Remediation, Restart
from agent.node.facts import RANCHER_DROPIN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agent.checks.argument_values import Argument, ArgumentRequirement, Given
    from agent.checks.assessed_node import AssessedNode
    from agent.k3s.config import ConfigValue
    from agent.node.facts import HostFacts


def corrected(required: ArgumentRequirement, argument: Argument, own: Given | None, node: AssessedNode) -> Remediation:
    """Return the edits for a set value; the other items of a list are kept. `own` is the value that K3s passes."""
    wrong = [one for one in argument.given if not required.criterion.accepts(one.value)] or list(argument.given)
    left = list(argument.overridden)
    while left and left[-1].by is not GivenBy.K3S and not required.criterion.accepts(left[-1].value):
        wrong.insert(0, left.pop())  # it would take effect if only the last one were removed
    better = required.criterion.suggestion(argument.value)
    # K3s' own authorizers are all that is needed; of plugins, the operator's own would be lost.
    keeps_list = required.name == ADMISSION_PLUGINS_ARGUMENT or isinstance(required.criterion, Excludes)
    is_ranchers = node.facts.rancher_managed and any(
        one.location and one.location.path.name == RANCHER_DROPIN for one in wrong
    )
    restart = Restart.NOT_NEEDED if is_ranchers else Restart.K3S
    if own is not None and required.criterion.accepts(own.value) and not (keeps_list and better):
        stays = [one for one in argument.given if one not in wrong]
        is_default_next = all(one.by is GivenBy.K3S for one in (*left[-1:], *stays))
        default = f" (K3s then sets {own.value})" if is_default_next else ""
        nested = [one for one in wrong if one.by is GivenBy.KUBELET_FILE and "." in one.field]
        others = [one for one in wrong if one not in nested]
        edits = (
            *_removals(required, others, node, default, is_ranchers=is_ranchers),
            # Without its field, the field above can become null, which also removes K3s' own value.
            *_settings(required, own.value, nested, is_ranchers=False),
        )
        return Remediation(edits, restart=restart)
    if not better:
        return Remediation(tuple(_removals(required, wrong, node, is_ranchers=is_ranchers)), restart=restart)
    given = [one for one in wrong if one in argument.given]
    return Remediation(tuple(_settings(required, better, given, is_ranchers=is_ranchers)), restart=restart)


def added(required: ArgumentRequirement, value: str, node: AssessedNode) -> Remediation:
    """Return the edit for an argument that is not set, or that K3s sets to `value`."""
    guide = node.options_to_set.get(required.name)
    is_accepted = guide is not None and required.criterion.accepts(guide.value)
    better = required.criterion.suggestion(value) or (guide.value if guide is not None and is_accepted else "")
    key = required.component.config_key
    text = (
        f"add `{required.name}={better}` to the list `{key}`"
        if better
        else f"set `{required.name}` in the list `{key}`"
    )
    if node.facts.rancher_managed:
        return Remediation((Instruction(text),))
    return Remediation((Instruction(text, Location(node.facts.configuration.path)),), restart=Restart.K3S)


def append_to_list(key: str, begins: Location) -> Instruction:
    """Return the edit that makes a list add to the values of earlier files instead of dropping them."""
    return Instruction(f"write `{key}+:` instead of `{key}:` (which drops the values of earlier files)", begins)


def _removals(
    required: ArgumentRequirement, wrong: Sequence[Given], node: AssessedNode, note: str = "", *, is_ranchers: bool
) -> Iterator[Instruction]:
    if is_ranchers:
        yield Instruction(f"remove `{required.name}` from `{required.component.config_key}`{note}")
        return
    removed = {one.location for one in wrong if one.location}
    for one in dict.fromkeys(one._replace(value="", written="") for one in wrong):
        is_last = _empties(required, removed, one, node)
        key = f" and the key `{required.component.config_key}`, which has no other item" if is_last else ""
        yield Instruction(f"remove `{one.field or required.name}`{key}{note}", one.location)


def _empties(required: ArgumentRequirement, removed: Collection[Location], one: Given, node: AssessedNode) -> bool:
    """Return whether the removal at this location, the first in its file, leaves an empty list there.

    K3s passes an empty argument for a key without a value, and the component does not start.
    """
    if one.location is None or one.by is GivenBy.KUBELET_FILE or one.location.path in node.facts.command_line_files:
        return False
    config, key, path = node.facts.merged_config, required.component.config_key, one.location.path
    if one.location != min(location for location in removed if location.path == path):
        return False
    items = [(value.text, value.location) for value in config.items(key)]
    items += [(dropped.value, dropped.location) for dropped in config.dropped if dropped.key == key]
    return all(
        component_argument(text).name == required.name and location in removed
        for text, location in items
        if location.path == path
    )


def _settings(
    required: ArgumentRequirement, better: str, wrong: Sequence[Given], *, is_ranchers: bool
) -> Iterator[Instruction]:
    if is_ranchers:
        yield Instruction(f"set `{required.name}={better}` in `{required.component.config_key}`")
        return
    for one in dict.fromkeys(one._replace(value="", written="") for one in wrong):
        is_field = one.by is GivenBy.KUBELET_FILE
        text = as_field(required.name, better) if is_field else f"{required.name}={better}"
        yield Instruction(f"set `{text}`", one.location)


def removal(key: str, value: ConfigValue, facts: HostFacts) -> Instruction:
    """Return the edit that removes an option, by the name that it has there: of the variable in an environment."""
    variables = (
        name
        for unit in facts.units
        for name, word in unit.environment.items()
        if VARIABLES.get(name) == key and word.location == value.location
    )
    return Instruction(f"remove `{next(variables, key)}`", value.location)
