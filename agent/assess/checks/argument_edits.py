"""Edits with which an argument meets its check: the exact text, and its location."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.answer import ChangedBy, UnmetRequirement
from agent.assess.checks.check import ArgumentRequirement
from agent.base.model import Location
from agent.base.repair import Instruction, Restart, RunVerb
from agent.harden.desired.dropin_options import (
    ADMISSION_PLUGINS_ARGUMENT,
    all_plugins,
    configured_values,
    plugins_joined,
)
from agent.harden.guide.criteria import ListExcludes, NotEmpty
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS, SECRETS_ENCRYPTION
from agent.harden.node.arguments import defaults
from agent.harden.node.facts import RANCHER_DROPIN
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.config import component_argument
from agent.k3s.options import VARIABLES
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from agent.assess.checks.answer import Evidence
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.harden.node.facts import HostFacts
    from agent.k3s.components.effective_arguments import EffectiveArgument, Given
    from agent.k3s.config import ConfigValue

ENCRYPTION_ARGUMENT = "encryption-provider-config"
"""The API server's argument that names the encryption configuration."""
ENCRYPTION = ArgumentRequirement(Component.API_SERVER, ENCRYPTION_ARGUMENT, NotEmpty())

_APPLY = RunVerb("apply")
_MOST_EDITS = 20
"""Edits of one remediation; after them, the next assessment names the others."""
_K3S_OPTIONS = {
    ENCRYPTION_ARGUMENT: SECRETS_ENCRYPTION.key,
    PROTECT_KERNEL_DEFAULTS.key: PROTECT_KERNEL_DEFAULTS.key,
}
"""Arguments that the guide sets by a K3s option."""


def unmet_argument(
    required: ArgumentRequirement,
    argument: EffectiveArgument | None,
    evidence: Iterable[Evidence],
    by: GivenBy | None,
    node: AssessedNode,
) -> UnmetRequirement:
    """Return what has to change for an argument (None if it is not set) that `by` set, as the evidence shows."""
    facts = node.facts
    is_by_hand = by in (GivenBy.OPERATOR, GivenBy.KUBELET_FILE)
    locations = [shown.location for shown in evidence if shown.location]
    edits = _edits(required, argument, by, node)
    if facts.rancher_managed and not (is_by_hand and all(at.path.name != RANCHER_DROPIN for at in locations)):
        return UnmetRequirement(edits, ChangedBy.RANCHER)
    key = required.component.config_key
    begins = None if required.name in _K3S_OPTIONS else facts.merged_config.begins.get(key)
    append = (append_to_list(key, begins),) if begins is not None else ()
    is_dropped = begins is not None and facts.overrides_dropin(begins.path)
    first = append if is_dropped else ()
    is_plugins = required.name == ADMISSION_PLUGINS_ARGUMENT
    # The API server enables the plugins of all lists, and scanners read only the first one: the operator's own.
    plugins = required.criterion.suggestion(all_plugins(node.situation.settings, facts)) if is_plugins else ""
    in_list = plugins_joined(plugins, facts) if plugins and not facts.rancher_managed else ()
    if in_list:
        return UnmetRequirement((*first, *in_list), ChangedBy.OPERATOR, then=(_APPLY,), restart=Restart.K3S)
    follows = is_by_hand and any(
        required.name == ENCRYPTION_ARGUMENT or facts.overrides_dropin(at.path) for at in locations
    )
    if not follows and _apply_sets(required, node):
        restart = Restart.K3S if first or node.has_started else Restart.NOT_NEEDED
        return UnmetRequirement(edits, ChangedBy.APPLY, first, restart=restart)
    plugins = _all_plugins(required, argument, node) if is_plugins and not is_by_hand else ""
    if plugins:
        text = f"set `{required.name}={plugins}` in the list `{key}`"
        return UnmetRequirement((_in_main_file(text, node),), before_apply=first, then=(_APPLY,), restart=Restart.K3S)
    if begins is not None and not is_by_hand and begins.path != facts.configuration.path:
        edits = (*append, *edits)
    changed_by = ChangedBy.OPERATOR if is_by_hand and not is_plugins else ChangedBy.SITE
    return node.unmet(edits, changed_by, first, restart=Restart.K3S)


def not_encrypted(option: Given | None, node: AssessedNode) -> UnmetRequirement:
    """Return what has to change if no K3s option names the encryption configuration, or `option` disables it."""
    if node.facts.rancher_managed:
        return UnmetRequirement(changed_by=ChangedBy.RANCHER)
    if _apply_sets(ENCRYPTION, node):
        restart = Restart.K3S if node.has_started else Restart.NOT_NEEDED
        return UnmetRequirement(changed_by=ChangedBy.APPLY, restart=restart)
    return UnmetRequirement(then=(Instruction(f"change `{option.written}`", option.location),) if option else ())


def _apply_sets(required: ArgumentRequirement, node: AssessedNode) -> bool:
    """Return whether `apply` will write a compliant option to the drop-in, and nothing overrides it."""
    option = node.options_to_set.get(_K3S_OPTIONS.get(required.name, required.name))
    if option is None or str(node.facts.dropin_path) not in node.pending:
        return False
    last = configured_values(node.facts.merged_config, option.row)[-1:]
    if not option.row.name:
        return not last or not node.facts.overrides_dropin(last[0].location.path)
    is_same = option.row.key == required.component.config_key
    return is_same and required.criterion.accepts(option.value) and not (last and last[0].spelling)


def _all_plugins(required: ArgumentRequirement, argument: EffectiveArgument | None, node: AssessedNode) -> str:
    """Return the plugins in effect and the required ones; empty if none is required.

    The API server reads one list: an edit of K3s' main file has to repeat the plugins of the drop-in.
    """
    expected = node.options_to_set.get(required.name)
    value = expected.value if expected is not None else argument.value if argument is not None else ""
    return required.criterion.suggestion(value) if required.criterion.required else ""


def _in_main_file(text: str, node: AssessedNode) -> Instruction:
    return Instruction(text, None if node.facts.rancher_managed else Location(node.facts.configuration.path))


def _edits(
    required: ArgumentRequirement, argument: EffectiveArgument | None, by: GivenBy | None, node: AssessedNode
) -> tuple[Instruction, ...]:
    """Return the edits by hand."""
    if argument is not None and by is not GivenBy.K3S:
        return corrected(required, argument, node)
    value = argument.value if argument is not None else ""
    guide = node.options_to_set.get(required.name)
    is_accepted = guide is not None and required.criterion.accepts(guide.value)
    better = required.criterion.suggestion(value) or (guide.value if guide is not None and is_accepted else "")
    key = required.component.config_key
    text = f"add `{required.name}={better}` to" if better else f"set `{required.name}` in"
    return (_in_main_file(f"{text} the list `{key}`", node),)


def corrected(
    required: ArgumentRequirement, argument: EffectiveArgument, node: AssessedNode
) -> tuple[Instruction, ...]:
    """Return the edits of a set value, which keep the other items of a list."""
    own = defaults.default_of(required.component, required.name, node.facts)
    wrong = [value for value in argument.given if not required.criterion.accepts(value.value)] or list(argument.given)
    left = list(argument.overridden)
    while left and left[-1].by is not GivenBy.K3S and not required.criterion.accepts(left[-1].value):
        wrong.insert(0, left.pop())  # it would take effect if only the last one were removed
    better = required.criterion.suggestion(argument.value)
    # K3s' own authorizers are all that is needed; of plugins, the operator's own would be lost.
    keeps_list = required.name == ADMISSION_PLUGINS_ARGUMENT or isinstance(required.criterion, ListExcludes)
    if own is not None and required.criterion.accepts(own.value) and not (keeps_list and better):
        stays = [value for value in argument.given if value not in wrong]
        is_default_next = all(value.by is GivenBy.K3S for value in (*left[-1:], *stays))
        default = f" (K3s then sets {own.value})" if is_default_next else ""
        nested = [value for value in wrong if value.by is GivenBy.KUBELET_FILE and "." in value.field]
        others = [value for value in wrong if value not in nested]
        # Without its field, the field above can become null, which also removes K3s' own value.
        return (*_removals(required, others, node, default), *_settings(required, own.value, nested, node))
    if better:
        return tuple(_settings(required, better, [value for value in wrong if value in argument.given], node))
    return tuple(_removals(required, wrong, node))


def _are_ranchers(values: Sequence[Given], node: AssessedNode) -> bool:
    """Return whether Rancher wrote the values, from its Cluster object."""
    paths = {value.location.path.name for value in values if value.location}
    return node.facts.rancher_managed and RANCHER_DROPIN in paths


def append_to_list(key: str, begins: Location) -> Instruction:
    """Return the edit that makes a list add to the values of earlier files instead of dropping them."""
    return Instruction(f"write `{key}+:` instead of `{key}:` (which drops the values of earlier files)", begins)


def _removals(
    required: ArgumentRequirement, wrong: Sequence[Given], node: AssessedNode, note: str = ""
) -> Iterator[Instruction]:
    if _are_ranchers(wrong, node):
        yield Instruction(f"remove `{required.name}` from `{required.component.config_key}`{note}")
        return
    removed = {value.location for value in wrong if value.location}
    for item in _places(wrong):
        is_last = _empties(required, removed, item, node)
        key = f" and the key `{required.component.config_key}`, which has no other item" if is_last else ""
        yield Instruction(f"remove `{item.field or required.name}`{key}{note}", item.location)


def _empties(required: ArgumentRequirement, removed: Collection[Location], given: Given, node: AssessedNode) -> bool:
    """Return whether the removal at this location, the first in its file, leaves an empty list there.

    K3s passes an empty argument for a key without a value, and the component does not start.
    """
    if (
        given.location is None
        or given.by is GivenBy.KUBELET_FILE
        or given.location.path in node.facts.command_line_files
    ):
        return False
    config, key, path = node.facts.merged_config, required.component.config_key, given.location.path
    if given.location != min(location for location in removed if location.path == path):
        return False
    items = [(value.text, value.location) for value in config.items(key)]
    items += [(dropped.value, dropped.location) for dropped in config.dropped if dropped.key == key]
    return all(
        component_argument(text).name == required.name and location in removed
        for text, location in items
        if location.path == path
    )


def _settings(
    required: ArgumentRequirement, better: str, wrong: Sequence[Given], node: AssessedNode
) -> Iterator[Instruction]:
    if _are_ranchers(wrong, node):
        yield Instruction(f"set `{required.name}={better}` in `{required.component.config_key}`")
        return
    for item in _places(wrong):
        is_field = item.by is GivenBy.KUBELET_FILE
        text = f"{required.name}={better}"
        if is_field:
            from agent.k3s.components.files.fields import as_field  # of few nodes

            text = as_field(required.component, required.name, better)
        yield Instruction(f"set `{text}`", item.location)


def _places(wrong: Sequence[Given]) -> list[Given]:
    """Return the first places of values, each once: an edit of a list repeats all of its items."""
    return [*dict.fromkeys(value._replace(value="", written="") for value in wrong)][:_MOST_EDITS]


def removal(key: str, value: ConfigValue, facts: HostFacts) -> Instruction:
    """Return the edit that removes an option, by the name that it has there: of the variable in an environment."""
    variables = (
        name
        for unit in facts.units
        for name, word in unit.environment.items()
        if VARIABLES.get(name) == key and word.location == value.location
    )
    return Instruction(f"remove `{next(variables, key)}`", value.location)
