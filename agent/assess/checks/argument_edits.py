"""Repairs of component arguments: the text of the line that sets one, and what replaces it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import ArgumentRequirement
from agent.base.model import Location
from agent.base.repair import Answer as Choice
from agent.base.repair import Decide, Edit, Instruction, Patch, Repair, Restart, RunVerb
from agent.findings.config_edits import (
    added,
    appended_list,
    changed,
    plugins_joined,
    replaced,
    with_empty_lists,
    without_own_admission,
)
from agent.harden.desired.dropin_options import (
    ADMISSION_PLUGINS_ARGUMENT,
    all_plugins,
    configured_values,
    expected_options,
)
from agent.harden.guide.criteria import NotEmpty, NotGiven
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS, SECRETS_ENCRYPTION
from agent.harden.node.arguments import defaults
from agent.harden.node.facts import RANCHER_DROPIN
from agent.k3s.components.effective_arguments import EffectiveArgument, Given, GivenBy
from agent.k3s.config import component_argument
from agent.k3s.roles_and_versions import Component

ENCRYPTION_ARGUMENT = "encryption-provider-config"
"""The API server's argument that names the encryption configuration."""
ENCRYPTION = ArgumentRequirement(Component.API_SERVER, ENCRYPTION_ARGUMENT, NotEmpty())
EVENT_RATE_LIMIT = "EventRateLimit"

_APPLY = RunVerb("apply")
_MOST_EDITS = 20
"""Edits of one remediation; after them, the next assessment names the others."""
_K3S_OPTIONS = {ENCRYPTION_ARGUMENT: SECRETS_ENCRYPTION.key, PROTECT_KERNEL_DEFAULTS.key: PROTECT_KERNEL_DEFAULTS.key}
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
    in_list = plugins_joined(node.situation, plugins) if plugins and not facts.rancher_managed else ()
    if is_plugins and EVENT_RATE_LIMIT in required.criterion.required:
        first = (*first, *without_own_admission(node.situation))
        if not setting and not _apply_sets(required, node):
            return Repair((UPGRADE,))
    if in_list:
        return Repair((*first, *in_list, *(setting or (_APPLY,))), Restart.K3S)
    follows = is_by_hand and any(
        required.name == ENCRYPTION_ARGUMENT or facts.overrides_dropin(at.path) for at in locations
    )
    if not follows and _apply_sets(required, node):
        apply = node.rewritten(facts.dropin_path)
        return Repair((*first, *apply), Restart.K3S if first or node.has_started else Restart.NOT_NEEDED)
    if setting:
        return Repair((*first, *setting), Restart.K3S)
    if argument is not None and by is not GivenBy.K3S and (is_by_hand or not is_plugins):
        edits = corrected(required, argument, node)
    else:
        edits = (added(node.situation, key, f"{required.name}={_better(required, argument, node)}"),)
    is_elsewhere = begins is not None and not is_by_hand and begins.path != facts.configuration.path
    return node.by_hand((*(appended if is_elsewhere else ()), *edits))


def not_encrypted(option: Given | None, node: AssessedNode) -> Repair:
    """Return what to do if no K3s option names the encryption configuration, or `option` disables it."""
    if node.facts.rancher_managed:
        return _in_cluster_object(ENCRYPTION, "true", node)
    if _apply_sets(ENCRYPTION, node):
        return Repair((_APPLY,), Restart.K3S if node.has_started else Restart.NOT_NEEDED)
    by_hand = Instruction(SECRETS_ENCRYPTION.by_hand.removesuffix("."))
    return node.by_hand((by_hand, *((replaced(node.situation, option.at, option.written, ""),) if option else ())))


def _apply_sets(required: ArgumentRequirement, node: AssessedNode) -> bool:
    """Return whether `apply` will write a compliant option to the drop-in, and nothing overrides it."""
    option = node.options_to_set.get(_K3S_OPTIONS.get(required.name, required.name))
    dropin = str(node.facts.dropin_path)
    is_edited = any(refusal.id == dropin and refusal.edited for refusal in node.situation.plan.refusals)
    if option is None or not (dropin in node.pending or is_edited):
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
        return tuple(
            changed(node.situation, required.component, required.name, value, better)
            for value in _places(wrong)
            if value in argument.given
        )
    own = defaults.default_of(required.component, required.name, node.facts)
    # Without its field, the field above can become null, which also removes K3s' own value.
    nested = [value for value in wrong if own and value.by is GivenBy.KUBELET_FILE and "." in value.field]
    removed = [
        changed(node.situation, required.component, required.name, value, "")
        for value in _places(wrong)
        if value not in nested
    ]
    return (
        *with_empty_lists(node.situation, required.component.config_key, removed),
        *(
            changed(node.situation, required.component, required.name, value, own.value)
            for value in _places(nested)
            if own
        ),
    )


def removed(component: Component, argument: EffectiveArgument, node: AssessedNode) -> tuple[Edit, ...]:
    """Return the edits that remove an argument."""
    return corrected(ArgumentRequirement(component, argument.name, NotGiven()), argument, node)


def _places(wrong: Sequence[Given]) -> list[Given]:
    """Return the values to change, each line and text once."""
    return [*dict.fromkeys(wrong)][:_MOST_EDITS]
