"""The configuration file of the scheduler: its fields, and the plugins of its profiles. Pure.

Sources: kubernetes, pkg/scheduler/apis/config/validation and pkg/scheduler/framework/plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components.files.decoding import FileProblem
from agent.k3s.components.files.field_table import fields_of
from agent.k3s.components.files.file_rules import FileKind, rejected_fields
from agent.model import Component
from agent.yaml_reader import Mapping, mappings, part, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.components.files.file_rules import FileContext


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SINCE_35 = _names(
    "DeferredPodScheduling GangScheduling NodeDeclaredFeatures PodGroupPodsCount TopologyPlacementGenerator"
)
_PLUGINS = _SINCE_35 | _names(
    """
    DefaultBinder DefaultPreemption DynamicResources ImageLocality InterPodAffinity NodeAffinity NodeName NodePorts
    NodeResourcesBalancedAllocation NodeResourcesFit NodeUnschedulable NodeVolumeLimits PodTopologySpread PrioritySort
    SchedulingGates TaintToleration VolumeBinding VolumeRestrictions VolumeZone
    """
)
"""The plugins of any minor from 1.34 to 1.37."""


def _profiles(root: Mapping, context: FileContext) -> Iterator[FileProblem]:
    profiles = mappings(root.get("profiles"))
    for profile in profiles:
        if not profile.text("schedulerName") and (len(profiles) > 1 or profile.get("schedulerName") is not None):
            yield FileProblem(profile.line, "`schedulerName` must be set")
        if context.is_described:
            yield from _plugins(profile, context.minor)
            yield from _plugin_arguments(profile, context)


def _listed(profile: Mapping, key: str) -> Iterator[tuple[str, str]]:
    """Yield the plugins that a profile enables or disables, each after its extension point."""
    plugins = profile.get("plugins")
    for entry in plugins.entries if isinstance(plugins, Mapping) else ():
        for plugin in mappings(part(entry.node, key)):
            yield entry.key, plugin.text("name") or ""


def _plugins(profile: Mapping, minor: int) -> Iterator[FileProblem]:
    known = _PLUGINS if minor >= 35 else _PLUGINS - _SINCE_35  # noqa: PLR2004
    for point, name in _listed(profile, "enabled"):
        if name not in known:
            line = profile.line_of("plugins")
            yield FileProblem(line, f"`{point}` enables the plugin {shown(name)}, which does not exist")


def _plugin_arguments(profile: Mapping, context: FileContext) -> Iterator[FileProblem]:
    disabled = {name for _, name in _listed(profile, "disabled")}
    for item in mappings(profile.get("pluginConfig")):
        name, arguments = item.text("name") or "", item.get("args")
        # The other plugins are validated with the file, and this one when it is used.
        is_used = name != "NodeResourcesFit" or disabled.isdisjoint((name, "*"))
        if is_used and isinstance(arguments, Mapping) and fields_of(f"{name}Args", context.minor):
            kind = FileKind(f"{name}Args", Component.SCHEDULER, has_head=False)
            yield from rejected_fields(kind, arguments, context)


SCHEDULER_CONFIGURATION = FileKind("KubeSchedulerConfiguration", Component.SCHEDULER, _profiles)
