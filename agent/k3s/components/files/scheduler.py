"""The configuration file of the scheduler: fields, profiles, plugins and their arguments. Pure.

Sources: kubernetes, pkg/scheduler/apis/config/validation, pkg/scheduler/apis/config/v1/default_plugins.go and
pkg/scheduler/framework/runtime/framework.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import HEAD
from agent.k3s.components.files.scheduler_plugins import (
    DEFAULTS,
    EVERY,
    FIRST_MINORS,
    POINTS,
    REMOVED,
    argument_problems,
    fields_of,
)
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.names import is_qualified_name
from agent.k3s.components.values import SECOND
from agent.yaml_reader import Mapping, Scalar, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

_GROUP = "kubescheduler.config.k8s.io/v1"
_PLUGIN: schema.Schema = [{"name": "string", "weight": "int32"}]
_EXTENDER: schema.Schema = {
    **dict.fromkeys(("bindVerb", "filterVerb", "preemptVerb", "prioritizeVerb", "urlPrefix"), "string"),
    **dict.fromkeys(("enableHTTPS", "ignorable", "nodeCacheCapable"), "bool"),
    "httpTimeout": "duration",
    "managedResources": [{"name": "string", "ignoredByScheduler": "bool"}],
    "tlsConfig": {
        **dict.fromkeys(("caData", "caFile", "certData", "certFile", "keyData", "keyFile", "serverName"), "string"),
        "insecure": "bool",
    },
    "weight": "int64",
}
_FIELDS: dict[str, schema.Schema] = {
    **HEAD,
    **dict.fromkeys(("delayCacheUntilActive", "enableContentionProfiling", "enableProfiling"), "bool"),
    **dict.fromkeys(("parallelism", "percentageOfNodesToScore"), "int32"),
    **dict.fromkeys(("podInitialBackoffSeconds", "podMaxBackoffSeconds"), "int64"),
    "clientConnection": {
        **dict.fromkeys(("acceptContentTypes", "contentType", "kubeconfig"), "string"),
        "burst": "int32",
        "qps": "float",
    },
    "extenders": [_EXTENDER],
    "leaderElection": {
        **dict.fromkeys(("leaseDuration", "renewDeadline", "retryPeriod"), "duration"),
        **dict.fromkeys(("resourceLock", "resourceName", "resourceNamespace"), "string"),
        "leaderElect": "bool",
    },
}


class Context(NamedTuple):
    """What the meaning of the file depends on."""

    minor: int
    """The minor version; 0 if the tables do not describe it. The plugins are not checked then."""
    has_master: bool = False
    """Whether the argument master is set, so that the file needs no kubeconfig."""
    has_gates: bool = False
    """Whether feature gates are set, on which some fields depend."""
    elects: bool = False
    """Whether the field `leaderElect` decides on leader election. With SQLite, K3s' argument switches it off."""


class _Set(NamedTuple):
    """The plugins that a profile enables and disables for one extension point."""

    enabled: tuple[str, ...]
    disabled: frozenset[str]


def problems(data: bytes, path: PurePosixPath, context: Context) -> Iterator[InputError]:
    """Yield what the scheduler rejects in its configuration."""
    root = decoding.read(data, path, "KubeSchedulerConfiguration", (_GROUP,))
    if isinstance(root, InputError):
        yield root
        return
    yield from decoding.located(schema.problems(root, {**_FIELDS, "profiles": [_profile_fields(context.minor)]}), path)
    election = _election(root) if context.elects else iter(())
    for rule in (_numbers(root), _connection(root, context), election, _profiles(root, context), _extenders(root)):
        yield from decoding.located(rule, path)


def _profile_fields(minor: int) -> schema.Schema:
    points: dict[str, schema.Schema] = {
        point: {"enabled": _PLUGIN, "disabled": _PLUGIN}
        for point in (*POINTS, EVERY)
        if not minor or minor >= FIRST_MINORS.get(point, 0)
    }
    return {
        "percentageOfNodesToScore": "int32",
        "pluginConfig": [{"name": "string", "args": "object"}],
        "plugins": points,
        "schedulerName": "string",
    }


def _numbers(root: Mapping) -> Iterator[Problem]:
    yield from schema.outside(root, "parallelism", 1)
    yield from schema.outside(root, "percentageOfNodesToScore", 0, 100)
    first, longest = (
        schema.number(root, "podInitialBackoffSeconds", 1),
        schema.number(root, "podMaxBackoffSeconds", 10),
    )
    if first <= 0:
        yield Problem(root.line_of("podInitialBackoffSeconds"), "`podInitialBackoffSeconds` must be more than 0")
    elif longest < first:
        key = "podMaxBackoffSeconds" if root.get("podMaxBackoffSeconds") else "podInitialBackoffSeconds"
        yield Problem(root.line_of(key), "`podMaxBackoffSeconds` must be at least `podInitialBackoffSeconds`")


def _connection(root: Mapping, context: Context) -> Iterator[Problem]:
    """Yield the problems of the connection. With a file, the scheduler ignores its argument kubeconfig."""
    connection = decoding.part(root, "clientConnection")
    if not context.has_master and not connection.text("kubeconfig"):
        yield Problem(connection.line, "`clientConnection.kubeconfig` must be set: K3s' argument has no effect")
    yield from schema.outside(connection, "burst", 0)


def _election(root: Mapping) -> Iterator[Problem]:
    """Yield the problems of leader election (component-base/config/validation; client-go/tools/leaderelection)."""
    election = root.get("leaderElection")
    elects = election.get("leaderElect") if isinstance(election, Mapping) else None
    if not isinstance(election, Mapping) or (isinstance(elects, Scalar) and elects.value is False):
        return
    periods = {"leaseDuration": 15, "renewDeadline": 10, "retryPeriod": 2}
    lease, renew, retry = (decoding.duration_of(election, key) or periods[key] * SECOND for key in periods)
    if not lease > renew > 1.2 * retry > 0:
        message = "`leaseDuration` must be more than `renewDeadline`, and that more than 1.2 times `retryPeriod`"
        yield Problem(election.line, message)
    if election.text("resourceLock") not in (None, "", "leases"):
        yield Problem(election.line_of("resourceLock"), "`resourceLock` must be leases")


def _profiles(root: Mapping, context: Context) -> Iterator[Problem]:
    profiles = decoding.mappings(root.get("profiles"))
    seen: set[str] = set()
    for profile in profiles:
        name = profile.text("schedulerName")
        if name is None and len(profiles) == 1:
            name = "default-scheduler"
        if not name:
            yield Problem(profile.line, "`schedulerName` must be set")
        elif name in seen:
            yield Problem(profile.line, f"two items of `profiles` have the `schedulerName` {shown(name)}")
        seen.add(name or "")
        yield from schema.outside(profile, "percentageOfNodesToScore", 0, 100)
        if context.minor:
            yield from _plugins(profile, context.minor)
            yield from _plugin_arguments(profile, context)
    sorts = [_sets(profile).get("queueSort", _Set((), frozenset())) for profile in profiles]
    for profile, sort in zip(profiles, sorts):
        if sort != sorts[0]:
            yield Problem(profile.line, "`plugins.queueSort` must be the same for all profiles")


def _sets(profile: Mapping) -> dict[str, _Set]:
    plugins = profile.get("plugins")
    return {
        entry.key: _Set(
            tuple(one.text("name") or "" for one in decoding.mappings(entry.node.get("enabled"))),
            frozenset(one.text("name") or "" for one in decoding.mappings(entry.node.get("disabled"))),
        )
        for entry in (plugins.entries if isinstance(plugins, Mapping) else ())
        if isinstance(entry.node, Mapping)
    }


def _plugins(profile: Mapping, minor: int) -> Iterator[Problem]:
    """Yield plugins that do not exist, that cannot be used where they are, or without which nothing is scheduled."""
    plugins, sets = profile.get("plugins"), _sets(profile)
    line = (plugins or profile).line
    known = frozenset(name for names in POINTS.values() for name in names if minor >= FIRST_MINORS.get(name, 0))
    for point, chosen in sets.items():
        seen: set[str] = set()
        for name in chosen.enabled:
            if name not in known:
                yield Problem(line, f"`{point}` enables the plugin {shown(name)}, which does not exist")
            elif point in POINTS and name not in POINTS[point]:
                yield Problem(line, f"`{point}` enables {name}, which does not extend it")
            elif name in seen:
                yield Problem(line, f"`{point}` enables {name} twice")
            seen.add(name)
    every = sets.get(EVERY, _Set((), frozenset()))
    for point in ("queueSort", "bind"):
        left = [one for one in DEFAULTS[point] if not {one, "*"} & every.disabled]
        here = sets.get(point, _Set((), frozenset()))
        spread = {one for one in (*left, *every.enabled) if one in POINTS[point]}
        found = {*here.enabled, *(() if "*" in here.disabled else spread - here.disabled)}
        if not found or (point == "queueSort" and len(found) > 1):
            expected = "exactly one plugin" if point == "queueSort" else "at least one plugin"
            yield Problem(line, f"`{point}` must have {expected}")


def _plugin_arguments(profile: Mapping, context: Context) -> Iterator[Problem]:
    seen: set[str] = set()
    for item in decoding.mappings(profile.get("pluginConfig")):
        name = item.text("name") or ""
        if name in seen:
            yield Problem(item.line, f"`pluginConfig` has two items for {shown(name)}")
        seen.add(name)
        if name in REMOVED:
            yield Problem(item.line, f"`pluginConfig` has an item for {name}, which does not exist")
        arguments = item.get("args")
        fields = fields_of(name, context.minor)
        if fields is None or not isinstance(arguments, Mapping):
            continue
        kind, version = arguments.text("kind"), arguments.text("apiVersion")
        if kind not in (None, "", f"{name}Args") or version not in (None, "", _GROUP):
            yield Problem(arguments.line, f"`args` of {name} must be of the kind {name}Args and the version {_GROUP}")
            continue
        yield from schema.problems(arguments, {**HEAD, **fields}, f"args of {name}")
        if name != "NodeResourcesFit" or _is_enabled(profile, name):
            minor = context.minor
            yield from argument_problems(name, arguments, minor, has_gates=context.has_gates)


def _is_enabled(profile: Mapping, name: str) -> bool:
    """Return whether a profile has one of the default plugins."""
    sets = _sets(profile)
    is_disabled = EVERY in sets and bool({name, "*"} & sets[EVERY].disabled)
    return not is_disabled or any(name in one.enabled for one in sets.values())


def _extenders(root: Mapping) -> Iterator[Problem]:
    extenders = decoding.mappings(root.get("extenders"))
    seen: set[str] = set()
    for one in extenders:
        if one.text("prioritizeVerb") and schema.number(one, "weight", 0) <= 0:
            yield Problem(one.line_of("weight"), "`weight` of an extender with `prioritizeVerb` must be more than 0")
        for resource in decoding.mappings(one.get("managedResources")):
            name = resource.text("name") or ""
            if not _is_extended(name) or name in seen:
                yield Problem(resource.line, "each of `managedResources` must have a name of its own, such as a.com/b")
            seen.add(name)
    if len([one for one in extenders if one.text("bindVerb")]) > 1:
        yield Problem(root.line_of("extenders"), "only one of `extenders` can have `bindVerb`")


def _is_extended(name: str) -> bool:
    """Return whether a text is the name of an extended resource (IsExtendedResourceName)."""
    domain, slash, _ = name.partition("/")
    is_native = not slash or f".{domain}".endswith(".kubernetes.io")
    return is_qualified_name(name) and not is_native and not name.startswith("requests.")
