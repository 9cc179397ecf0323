"""Repairs of component arguments: the text of the line that sets one, and what replaces it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from agent.assess.checks.check import ArgumentRequirement
from agent.base.model import Location
from agent.base.repair import Answer as Choice
from agent.base.repair import Decide, Edit, Instruction, Patch, Repair, Restart, RunVerb
from agent.harden.desired.dropin_options import (
    ADMISSION_PLUGINS_ARGUMENT,
    all_plugins,
    configured_values,
    expected_options,
    plugins_joined,
)
from agent.harden.guide.criteria import NotEmpty, NotGiven
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS, SECRETS_ENCRYPTION
from agent.harden.node.arguments import defaults
from agent.harden.node.facts import RANCHER_DROPIN
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.config import component_argument
from agent.k3s.options import VARIABLES
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.assess.checks.assessed_node import AssessedNode
    from agent.k3s.components.effective_arguments import EffectiveArgument, Given
    from agent.k3s.config import ConfigValue

ENCRYPTION_ARGUMENT = "encryption-provider-config"
"""The API server's argument that names the encryption configuration."""
ENCRYPTION = ArgumentRequirement(Component.API_SERVER, ENCRYPTION_ARGUMENT, NotEmpty())
EVENT_RATE_LIMIT = "EventRateLimit"

_APPLY = RunVerb("apply")
_MOST_EDITS = 20
"""Edits of one remediation; after them, the next assessment names the others."""
_K3S_OPTIONS = {
    ENCRYPTION_ARGUMENT: SECRETS_ENCRYPTION.key,
    PROTECT_KERNEL_DEFAULTS.key: PROTECT_KERNEL_DEFAULTS.key,
}
"""Arguments that the guide sets by a K3s option."""
_CLUSTER_OBJECT = "Cluster object of this node in Rancher"
UPGRADE = Decide(
    "Can K3s be upgraded to v1.25 or newer, in which `event-rate-limit` writes the limits that the plugin requires?",
    (
        Choice("Yes", "the next assessment has the steps", ()),
        Choice("No", "waive the control: without limits, the API server does not start with the plugin", ()),
    ),
)


def repair_of_argument(
    required: ArgumentRequirement,
    argument: EffectiveArgument | None,
    locations: Iterable[Location],
    by: GivenBy | None,
    node: AssessedNode,
) -> Repair:
    """Return what to do about an argument (None if it is not set) that `by` set at these locations."""
    facts, key = node.facts, required.component.config_key
    is_by_hand = by in (GivenBy.OPERATOR, GivenBy.KUBELET_FILE)
    if facts.rancher_managed and not (is_by_hand and all(at.path.name != RANCHER_DROPIN for at in locations)):
        return _in_cluster_object(required, _better(required, argument, node), node)
    begins = None if required.name in _K3S_OPTIONS else facts.merged_config.begins.get(key)
    appended = (appended_list(key, begins),) if begins is not None else ()
    first = appended if begins is not None and facts.overrides_dropin(begins.path) else ()
    is_plugins = required.name == ADMISSION_PLUGINS_ARGUMENT
    setting = node.set_by(required.setting) if is_plugins or not is_by_hand else ()
    # The API server enables the plugins of all lists, and scanners read only the first one: the operator's own.
    plugins = required.criterion.suggestion(all_plugins(node.situation.settings, facts)) if is_plugins else ""
    in_list = plugins_joined(plugins, facts) if plugins and not facts.rancher_managed else ()
    if not setting and is_plugins and EVENT_RATE_LIMIT in required.criterion.required:
        return Repair((UPGRADE,))
    if in_list:
        return Repair((*first, *in_list, *(setting or (_APPLY,))), Restart.K3S)
    follows = is_by_hand and any(
        required.name == ENCRYPTION_ARGUMENT or facts.overrides_dropin(at.path) for at in locations
    )
    if not follows and _apply_sets(required, node):
        return Repair((*first, _APPLY), Restart.K3S if first or node.has_started else Restart.NOT_NEEDED)
    if setting:
        return Repair((*first, *setting), Restart.K3S)
    if argument is not None and by is not GivenBy.K3S and (is_by_hand or not is_plugins):
        edits = corrected(required, argument, node)
    else:
        edits = (_added(key, f"{required.name}={_better(required, argument, node)}", node),)
    is_elsewhere = begins is not None and not is_by_hand and begins.path != facts.configuration.path
    return node.by_hand((*(appended if is_elsewhere else ()), *edits))


def not_encrypted(option: Given | None, node: AssessedNode) -> Repair:
    """Return what to do if no K3s option names the encryption configuration, or `option` disables it."""
    if node.facts.rancher_managed:
        return _in_cluster_object(ENCRYPTION, "true", node)
    if _apply_sets(ENCRYPTION, node):
        return Repair((_APPLY,), Restart.K3S if node.has_started else Restart.NOT_NEEDED)
    by_hand = Instruction(SECRETS_ENCRYPTION.by_hand.removesuffix("."))
    return node.by_hand((by_hand, *((_replaced(option.at, option.written, "", node),) if option else ())))


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


def _better(required: ArgumentRequirement, argument: EffectiveArgument | None, node: AssessedNode) -> str:
    """Return the recommended value; empty if the default of K3s or the component is."""
    own = defaults.default_of(required.component, required.name, node.facts)
    better = required.criterion.suggestion(argument.value if argument else "")
    # K3s' own authorizers are all that is needed; of plugins, the operator's own would be lost.
    if own is not None and required.criterion.accepts(own.value) and required.name != ADMISSION_PLUGINS_ARGUMENT:
        return ""
    guide = (
        option.value
        for option in expected_options(node.situation.settings, node.facts)
        if option.row.name == required.name and option.row.key == required.component.config_key
    )
    return better or next(filter(required.criterion.accepts, guide), "")


def _in_cluster_object(required: ArgumentRequirement, better: str, node: AssessedNode) -> Repair:
    """Return the change of the Cluster object, from which Rancher writes K3s' configuration of its nodes."""
    key, name = required.component.config_key, required.name
    field, value = _K3S_OPTIONS.get(name, ""), "true"
    if not field:
        items = node.facts.merged_config.items(key)
        texts = (item.text for item in items if item.location.path.name == RANCHER_DROPIN)
        kept = [text for text in texts if component_argument(text).name != name]
        field, value = key, json.dumps([*kept, *([f"{name}={better}"] if better else [])])
    options = expected_options(node.situation.settings, node.facts)
    is_rendered = any(option.row.key == field and option.row.name in ("", name) for option in options)
    patch = Patch(_CLUSTER_OBJECT, ((f"spec.rkeConfig.machineGlobalConfig.{field}", value),))
    return Repair((RunVerb("render", ("rancher-cluster",)), patch) if is_rendered else (patch,))


def corrected(required: ArgumentRequirement, argument: EffectiveArgument, node: AssessedNode) -> tuple[Edit, ...]:
    """Return the edits of a set value, which keep the other items of a list."""
    wrong = [value for value in argument.given if not required.criterion.accepts(value.value)] or list(argument.given)
    left = list(argument.overridden)
    while left and left[-1].by is not GivenBy.K3S and not required.criterion.accepts(left[-1].value):
        wrong.insert(0, left.pop())  # it would take effect if only the last one were removed
    better = _better(required, argument, node)
    if better:
        return tuple(_changed(required, value, better, node) for value in _places(wrong) if value in argument.given)
    own = defaults.default_of(required.component, required.name, node.facts)
    # Without its field, the field above can become null, which also removes K3s' own value.
    nested = [value for value in wrong if own and value.by is GivenBy.KUBELET_FILE and "." in value.field]
    removed = [_changed(required, value, "", node) for value in _places(wrong) if value not in nested]
    return (
        *_with_empty_lists(required, removed, node),
        *(_changed(required, value, own.value, node) for value in _places(nested) if own),
    )


def removed(component: Component, argument: EffectiveArgument, node: AssessedNode) -> tuple[Edit, ...]:
    """Return the edits that remove an argument."""
    return corrected(ArgumentRequirement(component, argument.name, NotGiven()), argument, node)


def _places(wrong: Sequence[Given]) -> list[Given]:
    """Return the values to change, each line and text once."""
    return [*dict.fromkeys(wrong)][:_MOST_EDITS]


def appended_list(key: str, begins: Location) -> Edit:
    """Return the edit that makes a list add to the values of earlier files instead of dropping them."""
    return Edit(begins, key, f"{key}+")


def _changed(required: ArgumentRequirement, item: Given, better: str, node: AssessedNode) -> Edit:
    """Return the edit that sets a value to a better one; an empty one removes it."""
    name, key, at = required.name, required.component.config_key, item.at
    if item.by is GivenBy.KUBELET_FILE:
        return _changed_field(required, item, better, node)
    texts = [value.text for value in node.facts.merged_config.items(key) if value.location == at]
    texts = [text for text in texts if component_argument(text).name == name]
    same = [text for text in texts if component_argument(text).value == item.value]
    if not texts:
        return _replaced(at, item.written or f"{name}={item.value}", better and f"{item.field or name}: {better}", node)
    return _replaced(at, (same or texts)[0], better and f"{name}={better}", node, key)


def _changed_field(required: ArgumentRequirement, item: Given, better: str, node: AssessedNode) -> Edit:
    from agent.k3s.components.files.fields import as_field  # of few nodes

    line, text = node.situation.line_at(item.at).strip(), as_field(required.component, required.name, better or "true")
    path = text.partition(":")[0]
    leaf = path.rpartition(".")[2]
    if not line.lstrip("\"'").startswith(leaf):
        found = re.search(rf"[\"']?{re.escape(leaf)}[\"']?:\s*(\[[^]]*]|[^,}}\]]*)", line)
        if found is None:  # an item of a list or mapping on a line of its own, which stays without it
            return Edit(item.at, line)
        line = found[0].rstrip()
    return Edit(item.at, line, text[len(path) - len(leaf) :] if better else "")


def _replaced(at: Location, old: str, new: str, node: AssessedNode, key: str = "") -> Edit:
    """Return the edit of a value in K3s' configuration; on a command line, `key` is its option."""
    line = node.situation.line_at(at)
    if not new and at.path in node.facts.command_line_files and key:
        old = f"--{key}={old}"
    # Without quotes, the comma would end an item of a list in brackets.
    if not new and "[" in line.partition(old)[0]:
        item = rf"[\"']?(?:--)?{re.escape(old)}[\"']?"
        return Edit(at, line.strip(), re.sub(rf",\s*{item}|{item}\s*,\s*|{item}", "", line.strip()))
    is_bare = "," in new and "[" in line.partition(old)[0] and not re.search(f"[\"']{re.escape(old)}", line)
    return Edit(at, old, f'"{new}"' if is_bare else new)


def _with_empty_lists(required: ArgumentRequirement, removals: Sequence[Edit], node: AssessedNode) -> list[Edit]:
    """Return removals with those of the keys of lists that become empty.

    K3s passes an empty argument for a key without a value, and the component does not start.
    """
    config, key = node.facts.merged_config, required.component.config_key
    items = [*((value.text, value.location) for value in config.items(key))]
    items += [(dropped.value, dropped.location) for dropped in config.dropped if dropped.key == key]
    edits = list(removals)
    for path in dict.fromkeys(edit.location.path for edit in removals):
        inside = {at for text, at in items if at.path == path}
        removed = {edit.location for edit in removals}
        is_left = any(component_argument(text).name != required.name for text, at in items if at.path == path)
        start = node.situation.line_of_key(path, key, min(inside).line) if inside else 0
        if start and not is_left and inside <= removed:
            at = Location(path, start)
            edits = [edit for edit in edits if edit.location != at]
            edits.append(Edit(at, node.situation.line_at(at).strip()))
    return edits


def _added(key: str, item: str, node: AssessedNode) -> Edit:
    """Return the edit that adds an argument to a list of K3s' main file."""
    path = node.facts.configuration.path
    start = node.situation.line_of_key(path, key)
    if not start:
        return Edit(Location(path), new=f'{key}: ["{item}"]')
    at = Location(path, start)
    value = node.situation.line_at(at).partition(":")[2].strip()
    if value.startswith("["):
        return Edit(at, "[", f'["{item}", ')
    if value and not value.startswith("#"):
        return Edit(at, value, f'[{value}, "{item}"]')
    indent = re.match(r"\s*", node.situation.line_at(Location(path, start + 1)))
    return Edit(at, new=f'{indent[0] if indent else ""}- "{item}"')


def removal(key: str, value: ConfigValue, node: AssessedNode) -> Edit:
    """Return the edit that removes an option, by the name that it has there: of the variable in an environment."""
    at, facts = value.location, node.facts
    variables = (
        name
        for unit in facts.units
        for name, word in unit.environment.items()
        if VARIABLES.get(name) == key and word.location == at
    )
    variable = next(variables, "")
    if variable or HIDDEN in value.text:
        return Edit(at, variable or key)
    if at.path in facts.command_line_files:
        words = [word.text for unit in facts.units for word in unit.arguments if word.location == at]
        one = next((word for word in words if word.startswith(f"--{key}=")), "")
        return Edit(at, one or f"--{key} {value.text}")
    return Edit(at, node.situation.line_at(at).strip())
