"""The admission configuration of the API server, and the configurations of its plugins. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.model import Component, Location
from agent.base.yaml_reader import YamlMapping, first_object, mappings, part, shown
from agent.k3s.admission_plugins import POD_SECURITY
from agent.k3s.components.files import static_policies
from agent.k3s.components.files.decoding import located
from agent.k3s.components.files.file_rules import FileKind, rejected_by, rejected_fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.k3s.components.files.file_rules import FileContext

ADMISSION = FileKind("AdmissionConfiguration", Component.API_SERVER)


_PLUGINS = {
    POD_SECURITY: FileKind("PodSecurityConfiguration", Component.API_SERVER),
    "EventRateLimit": FileKind("Configuration", Component.API_SERVER, is_strict=False),
    **{name: FileKind(f"{name}Configuration", Component.API_SERVER) for name in static_policies.PLUGINS},
}


def rejected_admission(data: bytes, path: PurePosixPath, context: FileContext) -> Iterator[InputError]:
    """Yield what the API server rejects in its admission configuration, and in the files that it names for plugins.

    It reads the first entry of each plugin that is enabled.
    """
    problems = list(rejected_by(ADMISSION, data, path, context))
    yield from problems
    root = first_object(data, path) if not problems else None
    seen: set[str | None] = set()
    for plugin in mappings(part(root, "plugins")):
        name, configuration, file = plugin.text("name") or "", plugin.get("configuration"), plugin.text("path")
        if name in seen or name not in _PLUGINS or not context.uses_plugin(name):
            continue
        seen.add(name)
        if name in static_policies.PLUGINS and not static_policies.knows_fields(context.minor):
            continue
        if isinstance(configuration, YamlMapping):
            yield from located(rejected_fields(_PLUGINS[name], configuration, context), path)
        elif file:
            yield from _plugin_file(name, path.parent / file, Location(path, plugin.line_of("path")), context)


def _plugin_file(name: str, path: PurePosixPath, location: Location, context: FileContext) -> Iterator[InputError]:
    data = context.content(path)
    if context.is_missing(path):
        yield InputError(location, f"the plugin {name} requires a file at {shown(str(path))}")
    elif data or (data is not None and name != POD_SECURITY):  # an empty file is the default of PodSecurity
        yield from rejected_by(_PLUGINS[name], data, path, context)
