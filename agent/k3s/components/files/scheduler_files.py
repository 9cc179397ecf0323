"""The configuration file of the scheduler: its fields, and the plugins of its profiles. Pure.

Sources: kubernetes, pkg/scheduler/apis/config/validation, pkg/scheduler/framework/plugins and
pkg/scheduler/framework/runtime/framework.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.base.model import Component
from agent.base.yaml_reader import YamlMapping, mappings, shown
from agent.k3s.components.files.decoding import FileRejection
from agent.k3s.components.files.field_table import fields_of
from agent.k3s.components.files.file_rules import FileKind, rejected_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.components.files.file_rules import FileContext


_POINTS = {
    point: frozenset(plugins.split())
    for point, plugins in package_data.rows("k3s", "components", "files", "scheduler_plugins.tsv")
}
"""The plugins that extend each point."""
_SINCE_35 = frozenset(
    (
        "DeferredPodScheduling",
        "GangScheduling",
        "NodeDeclaredFeatures",
        "PodGroupPodsCount",
        "TopologyPlacementGenerator",
    )
)
"""Plugins that 1.34 does not have."""
_EVERY = "multiPoint"
"""The extension point that stands for all that a plugin extends."""


class _Set(NamedTuple):
    """The plugins that a profile enables and disables for one extension point."""

    enabled: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()


def _profiles(root: YamlMapping, context: FileContext) -> Iterator[FileRejection]:
    profiles = mappings(root.get("profiles"))
    for profile in profiles:
        if not profile.text("schedulerName") and (len(profiles) > 1 or profile.get("schedulerName") is not None):
            yield FileRejection(profile.line, "`schedulerName` must be set")
        if context.is_described:
            yield from _plugins(profile, context.minor)
            yield from _plugin_arguments(profile, context)
    sorts = [_sets(profile).get("queueSort", _Set()) for profile in profiles]
    for profile, sort in zip(profiles, sorts):
        if sort != sorts[0]:
            yield FileRejection(profile.line, "`plugins.queueSort` must be the same for all profiles")


def _sets(profile: YamlMapping) -> dict[str, _Set]:
    plugins = profile.get("plugins")
    return {
        entry.key: _Set(
            tuple(plugin.text("name") or "" for plugin in mappings(entry.node.get("enabled"))),
            frozenset(plugin.text("name") or "" for plugin in mappings(entry.node.get("disabled"))),
        )
        for entry in (plugins.entries if isinstance(plugins, YamlMapping) else ())
        if isinstance(entry.node, YamlMapping)
    }


def _plugins(profile: YamlMapping, minor: int) -> Iterator[FileRejection]:
    """Yield plugins that do not exist, that cannot be used where they are, or without which nothing is scheduled."""
    sets, line = _sets(profile), profile.line_of("plugins")
    known = frozenset().union(*_POINTS.values()) - (_SINCE_35 if minor < 35 else frozenset())  # noqa: PLR2004
    for point, chosen in sets.items():
        for name in dict.fromkeys(chosen.enabled):
            if name not in known:
                yield FileRejection(line, f"`{point}` enables the plugin {shown(name)}, which does not exist")
            elif point in _POINTS and name not in _POINTS[point]:
                yield FileRejection(line, f"`{point}` enables {name}, which does not extend it")
            elif chosen.enabled.count(name) > 1 and (point != _EVERY or len(sets) == 1):  # a point overrides multiPoint
                yield FileRejection(line, f"`{point}` enables {name} twice")
    every = sets.get(_EVERY, _Set())
    for point, default in (("queueSort", "PrioritySort"), ("bind", "DefaultBinder")):
        left = () if {default, "*"} & every.disabled else (default,)
        here = sets.get(point, _Set())
        spread = {name for name in (*left, *every.enabled) if name in _POINTS[point]}
        if not (*here.enabled, *(() if "*" in here.disabled else spread - here.disabled)):
            yield FileRejection(line, f"`{point}` must have a plugin")


def _plugin_arguments(profile: YamlMapping, context: FileContext) -> Iterator[FileRejection]:
    disabled = frozenset().union(*(chosen.disabled for chosen in _sets(profile).values()))
    for item in mappings(profile.get("pluginConfig")):
        name, arguments = item.text("name") or "", item.get("args")
        # The other plugins are validated with the file, and this one when it is used.
        is_used = name != "NodeResourcesFit" or disabled.isdisjoint((name, "*"))
        if is_used and isinstance(arguments, YamlMapping) and fields_of(f"{name}Args", context.minor):
            kind = FileKind(f"{name}Args", Component.SCHEDULER, has_head=False)
            yield from rejected_fields(kind, arguments, context)


SCHEDULER_CONFIGURATION = FileKind("KubeSchedulerConfiguration", Component.SCHEDULER, _profiles)
