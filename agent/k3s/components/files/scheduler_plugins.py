"""The plugins of the scheduler: what each extends, and the values that it rejects in its arguments. Pure.

Sources: kubernetes, pkg/scheduler/framework/plugins; kube-scheduler, config/v1/types_pluginargs.go; and
pkg/scheduler/apis/config/validation/validation_pluginargs.go. 1.34.4 and 1.37.2 were read: what only one of them has is
accepted in the versions between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import tables
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.names import is_qualified_name
from agent.k3s.components.values import SECOND
from agent.yaml_reader import Mapping, alternatives, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY = "multiPoint"
"""The extension point that stands for all that a plugin extends."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILTERS = """
    NodeVolumeLimits DynamicResources NodeResourcesFit InterPodAffinity NodeAffinity NodeName NodePorts
    NodeUnschedulable PodTopologySpread TaintToleration VolumeBinding VolumeRestrictions VolumeZone NodeDeclaredFeatures
    DeferredPodScheduling
"""
_SCORES = """
    NodeResourcesBalancedAllocation NodeResourcesFit InterPodAffinity NodeAffinity PodTopologySpread TaintToleration
    VolumeBinding
"""
POINTS = {
    "preEnqueue": _names("DefaultPreemption DynamicResources SchedulingGates GangScheduling"),
    "queueSort": _names("PrioritySort"),
    "preFilter": _names(_FILTERS),
    "filter": _names(_FILTERS),
    "postFilter": _names("DefaultPreemption DynamicResources"),
    "preScore": _names(_SCORES),
    "score": _names(f"{_SCORES} ImageLocality DynamicResources"),
    "reserve": _names("DynamicResources VolumeBinding"),
    "permit": _names("GangScheduling DeferredPodScheduling"),
    "preBind": _names("DynamicResources VolumeBinding"),
    "bind": _names("DefaultBinder"),
    "postBind": _names(""),
    "placementGenerate": _names("TopologyPlacementGenerator"),
    "placementScore": _names("NodeResourcesFit PodGroupPodsCount"),
    "podGroupPostFilter": _names("DynamicResources"),
}
"""The plugins that extend each point, in any of these versions."""

FIRST_MINORS = dict.fromkeys(
    (
        *("DeferredPodScheduling", "GangScheduling", "NodeDeclaredFeatures", "PodGroupPodsCount"),
        *("TopologyPlacementGenerator", "placementGenerate", "placementScore", "podGroupPostFilter"),
    ),
    35,
)
"""The first minor that may have a plugin or an extension point."""

DEFAULTS = {"queueSort": ("PrioritySort",), "bind": ("DefaultBinder",)}
"""The default plugins of the points that need one."""

_RESOURCES: schema.Schema = [{"name": "string", "weight": "int64"}]
_SHAPE: schema.Schema = [{"utilization": "int32", "score": "int32"}]
_EXPRESSIONS: schema.Schema = [{"key": "string", "operator": "string", "values": ["string"]}]
_TERM: schema.Schema = {"matchExpressions": _EXPRESSIONS, "matchFields": _EXPRESSIONS}
_ARGUMENTS: dict[str, dict[str, schema.Schema]] = {
    "DefaultPreemption": {"minCandidateNodesAbsolute": "int32", "minCandidateNodesPercentage": "int32"},
    "DynamicResources": {"bindingTimeout": "duration", "filterTimeout": "duration"},
    "InterPodAffinity": {"hardPodAffinityWeight": "int32", "ignorePreferredTermsOfExistingPods": "bool"},
    "NodeAffinity": {
        "addedAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"preference": _TERM, "weight": "int32"}],
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_TERM]},
        }
    },
    "NodeResourcesBalancedAllocation": {"resources": _RESOURCES},
    "NodeResourcesFit": {
        "ignoredResourceGroups": ["string"],
        "ignoredResources": ["string"],
        "scoringStrategy": {
            "requestedToCapacityRatio": {"shape": _SHAPE},
            "resources": _RESOURCES,
            "type": "string",
        },
    },
    "PodTopologySpread": {
        "defaultConstraints": [
            {
                **dict.fromkeys(
                    ("nodeAffinityPolicy", "nodeTaintsPolicy", "topologyKey", "whenUnsatisfiable"), "string"
                ),
                **dict.fromkeys(("maxSkew", "minDomains"), "int32"),
                "labelSelector": "object",
                "matchLabelKeys": ["string"],
            }
        ],
        "defaultingType": "string",
    },
    "VolumeBinding": {"bindTimeoutSeconds": "int64", "shape": _SHAPE},
}
"""The fields of the arguments of each plugin."""

_NEW_ARGUMENTS = {("DynamicResources", "bindingTimeout"): 35}
"""The first minor that may have an argument of a plugin."""

REMOVED = _names("AzureDiskLimits CinderLimits EBSLimits GCEPDLimits")
"""Plugins that cannot have arguments. Arguments of other unknown plugins are ignored."""


def fields_of(plugin: str, minor: int) -> dict[str, schema.Schema] | None:
    """Return the fields of the arguments of a plugin; None if it has none."""
    found = _ARGUMENTS.get(plugin)
    return found and {name: kind for name, kind in found.items() if minor >= _NEW_ARGUMENTS.get((plugin, name), 0)}


_RATIO = "RequestedToCapacityRatio"
_STRATEGIES = ("LeastAllocated", "MostAllocated", _RATIO)
_SCORES_VOLUMES = "StorageCapacityScoring"
_BINDS_DEVICES = 37
"""The first minor that was read with the gates of bindingTimeout on by default."""
_CHECKS_RATIO = 37
"""The first minor that was read to compare the type of a scoring strategy with its fields."""


def argument_problems(plugin: str, arguments: Mapping, minor: int, *, has_gates: bool) -> Iterator[Problem]:
    """Yield the values that a plugin rejects in its arguments. Their types are not checked here."""
    if plugin in _RULES:
        yield from _RULES[plugin](arguments)
    if plugin == "NodeResourcesFit":
        yield from _resources_fit(arguments, minor)
    elif plugin == "VolumeBinding" and not has_gates:
        yield from _volume_shape(arguments, minor)
    elif plugin == "DynamicResources" and not has_gates:
        yield from _binding_timeout(arguments, minor)


def _preemption(arguments: Mapping) -> Iterator[Problem]:
    percentage, absolute = "minCandidateNodesPercentage", "minCandidateNodesAbsolute"
    yield from schema.outside(arguments, percentage, 0, 100)
    yield from schema.outside(arguments, absolute, 0)
    if schema.number(arguments, percentage, 10) == 0 == schema.number(arguments, absolute, 100):
        yield Problem(arguments.line, f"`{percentage}` and `{absolute}` cannot both be 0")


def _pod_affinity(arguments: Mapping) -> Iterator[Problem]:
    yield from schema.outside(arguments, "hardPodAffinityWeight", 0, 100)


def _node_affinity(arguments: Mapping) -> Iterator[Problem]:
    added = decoding.part(arguments, "addedAffinity")
    required = added.get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = decoding.mappings(added.get("preferredDuringSchedulingIgnoredDuringExecution"))
    terms = decoding.mappings(required.get("nodeSelectorTerms")) if isinstance(required, Mapping) else []
    for term in (*terms, *(one.get("preference") for one in preferred)):
        for expression in decoding.mappings(term.get("matchExpressions")) if isinstance(term, Mapping) else ():
            operator, number = expression.text("operator"), len(decoding.items(expression, "values"))
            if operator not in _OPERATORS:
                yield Problem(expression.line, f"`operator` must be {alternatives(_OPERATORS)}")
            elif not _OPERATORS[operator][0] <= number <= _OPERATORS[operator][1]:
                yield Problem(expression.line, f"`values` has the wrong number of items for the operator {operator}")


_OPERATORS = {
    **dict.fromkeys(("In", "NotIn"), (1, 2**31)),
    **dict.fromkeys(("Exists", "DoesNotExist"), (0, 0)),
    **dict.fromkeys(("Gt", "Lt"), (1, 1)),
}
"""The smallest and the largest number of values for an operator."""


def _dynamic_resources(arguments: Mapping) -> Iterator[Problem]:
    if (decoding.duration_of(arguments, "filterTimeout") or 0) < 0:
        yield Problem(arguments.line, "`filterTimeout` must be at least 0s")


def _binding_timeout(arguments: Mapping, minor: int) -> Iterator[Problem]:
    timeout = decoding.duration_of(arguments, "bindingTimeout")
    if minor >= _BINDS_DEVICES and timeout is not None and timeout < SECOND:
        yield Problem(arguments.line, "`bindingTimeout` must be at least 1s")


def _balanced(arguments: Mapping) -> Iterator[Problem]:
    seen: set[str] = set()
    for resource in decoding.mappings(arguments.get("resources")):
        name = resource.text("name") or ""
        if name in seen:
            yield Problem(resource.line, f"`resources` contains {shown(name)} twice")
        seen.add(name)
        if schema.number(resource, "weight", 1) not in (0, 1):
            yield Problem(resource.line, "`weight` must be 1")


def _topology_spread(arguments: Mapping) -> Iterator[Problem]:
    kind = arguments.text("defaultingType") or "System"
    constraints = decoding.mappings(arguments.get("defaultConstraints"))
    line = arguments.line
    if kind not in ("List", "System"):
        yield Problem(line, "`defaultingType` must be List or System")
    elif kind == "System" and constraints:
        yield Problem(line, "`defaultingType` must be List if there are `defaultConstraints`")
    seen: set[tuple[str, str]] = set()
    for one in constraints:
        key, unsatisfiable = one.text("topologyKey") or "", one.text("whenUnsatisfiable") or ""
        if schema.number(one, "maxSkew", 0) <= 0:
            yield Problem(one.line, "`maxSkew` must be more than 0")
        if not is_qualified_name(key):
            yield Problem(one.line, "`topologyKey` must be the key of a label")
        if unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            yield Problem(one.line, "`whenUnsatisfiable` must be DoNotSchedule or ScheduleAnyway")
        if decoding.is_set(one.get("labelSelector")):
            yield Problem(one.line, "`labelSelector` cannot be set")
        if (key, unsatisfiable) in seen:
            yield Problem(one.line, "two `defaultConstraints` have the same `topologyKey` and `whenUnsatisfiable`")
        seen.add((key, unsatisfiable))


def _resources_fit(arguments: Mapping, minor: int) -> Iterator[Problem]:
    for key, has_domain in (("ignoredResources", True), ("ignoredResourceGroups", False)):
        for item in decoding.items(arguments, key):
            if not is_qualified_name(item.text) or (not has_domain and "/" in item.text):
                yield Problem(item.line, f"`{key}` contains '{shown(item.text)}', which is not a valid name")
    strategy = arguments.get("scoringStrategy")
    if isinstance(strategy, Mapping):
        yield from _strategy(strategy, minor)


def _strategy(strategy: Mapping, minor: int) -> Iterator[Problem]:
    kind, ratio = strategy.text("type"), strategy.get("requestedToCapacityRatio")
    if kind not in _STRATEGIES:
        yield Problem(strategy.line, f"`scoringStrategy.type` must be {alternatives(_STRATEGIES)}")
    for resource in decoding.mappings(strategy.get("resources")):
        if not 0 <= schema.number(resource, "weight", 1) <= 100:  # noqa: PLR2004 - 0 is the default, 1
            yield Problem(resource.line, "`weight` must be from 1 to 100")
    if isinstance(ratio, Mapping):
        yield from _shape(ratio)
    if kind == _RATIO and not decoding.is_set(ratio):  # the scheduler of 1.34.4 panics
        yield Problem(strategy.line, f"`requestedToCapacityRatio` must be set for the type {_RATIO}")
    elif minor >= _CHECKS_RATIO and kind in _STRATEGIES and kind != _RATIO and decoding.is_set(ratio):
        yield Problem(strategy.line, f"`requestedToCapacityRatio` can be set only for the type {_RATIO}")


def _volume_binding(arguments: Mapping) -> Iterator[Problem]:
    yield from schema.outside(arguments, "bindTimeoutSeconds", 0)


def _volume_shape(arguments: Mapping, minor: int) -> Iterator[Problem]:
    gate = tables.feature_gate(_SCORES_VOLUMES, minor)
    if decoding.is_set(arguments.get("shape")) and gate and not gate.default:
        yield Problem(arguments.line, f"`shape` needs the feature gate {_SCORES_VOLUMES}")
    elif decoding.mappings(arguments.get("shape")):
        yield from _shape(arguments)


def _shape(node: Mapping) -> Iterator[Problem]:
    points = decoding.mappings(node.get("shape"))
    if not points:
        yield Problem(node.line, "`shape` must contain at least one point")
    used = [schema.number(one, "utilization", 0) for one in points]
    if any(first >= second for first, second in zip(used, used[1:])):
        yield Problem(node.line, "`shape` must be sorted by `utilization`")
    for one in points:
        yield from schema.outside(one, "utilization", 0, 100)
        yield from schema.outside(one, "score", 0, 10)


_RULES: dict[str, Callable[[Mapping], Iterator[Problem]]] = {
    "DefaultPreemption": _preemption,
    "DynamicResources": _dynamic_resources,
    "InterPodAffinity": _pod_affinity,
    "NodeAffinity": _node_affinity,
    "NodeResourcesBalancedAllocation": _balanced,
    "VolumeBinding": _volume_binding,
    "PodTopologySpread": _topology_spread,
}
