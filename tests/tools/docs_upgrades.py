"""The page docs/reference/upgrades.md: what changes at each minor version of K3s, from the tables of `preflight`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.base import package_data
from agent.harden.desired import resources as desired
from agent.harden.node import facts
from agent.harden.settings.schema import Settings
from agent.k3s.components import tables
from agent.k3s.roles_and_versions import (
    NEWEST_KNOWN,
    NEWEST_PREVIEW,
    OLDEST_COVERED,
    PREVIEWED,
    Component,
    Role,
    Version,
    removals,
)
from agent.k3s.upgrade_notes import NOTES, UpgradeNote
from tests.tools.markdown import anchor, generated, page, table

_INTRODUCTION = """\
This page has what changes at each minor version, for [an upgrade of K3s](../howto/upgrade.md).
Upgrade one minor version at a time, and read each section from yours on. `sudo k3s-harden preflight` prints
the rows that concern a node, and finds which removed arguments and APIs its configuration and manifests use."""
_REMOVED_WITH = {"fatal": 25, "removed": 26}
"""The first minor version that exits at a removed option of K3s (agent/k3s/options.tsv)."""


def upgrades() -> str:
    minors = range(OLDEST_COVERED.minor + 1, NEWEST_PREVIEW.minor + 1)
    titles = {minor: f"1.{minor - 1} to 1.{minor}" for minor in minors}
    parts = [
        "# What changes at each version of K3s",
        generated("the tables in agent/k3s"),
        _INTRODUCTION,
        " · ".join(f"[{title}](#{anchor(title)})" for title in titles.values()),
    ]
    for minor, title in titles.items():
        rows = list(_rows(minor))
        parts += [f"## {title}", table(_HEAD, rows) if rows else "Nothing that a node has to be prepared for."]
        if minor == NEWEST_PREVIEW.minor:
            parts.append(f"This is what is public of {PREVIEWED}.")
    rejected = [(titles[minor], *row) for minor in minors for row in _of_components(minor)]
    parts += [
        f"## {_REJECTED}",
        table(("version", "arguments and feature gates", "nodes", "before the upgrade"), rejected),
    ]
    return page(parts)


_REJECTED = "Arguments and feature gates that components reject"
_HEAD = ("change", "nodes", "before the upgrade")
_LONG = 80
_ALL, _SERVERS = "all", "servers"


def _rows(minor: int) -> Iterator[tuple[str, str, str]]:
    for note in NOTES:
        patches = [patch for since, patch in note.since if since == minor]
        if patches:
            yield _in_release(note, minor, patches[0]), _nodes(note), note.first
    for removal in removals():
        if removal.minor == minor:
            kinds = ", ".join(sorted(removal.kinds))
            yield f"`{removal.api_version}` is removed: {kinds}", _SERVERS, f"use `{removal.instead}` in manifests"
    options = [row[0] for row in package_data.rows("k3s", "options.tsv") if _REMOVED_WITH.get(row[-1]) == minor]
    if options:
        yield f"K3s exits at {_code(options)}", _ALL, "remove it from the configuration"
    if any(True for _ in _of_components(minor)):
        found = f"Components reject [these arguments and feature gates](#{anchor(_REJECTED)})"
        yield found, _ALL, "remove those that `preflight` names"
    if minor <= NEWEST_KNOWN.minor:
        for role in Role:
            new, old = (set(_arguments(role, version)) for version in (minor, minor - 1))
            changes = [f"{word} {_code(some)}" for word, some in (("adds", new - old), ("removes", old - new)) if some]
            if changes:
                yield f"`apply` {' and '.join(changes)}", f"{role}s", ""


def _of_components(minor: int) -> Iterator[tuple[str, str, str]]:
    """Yield the arguments and feature gates that the components do not have any more."""
    if not tables.describe(minor - 1):
        return
    for component in Component:
        if tables.has_flags(component, minor) and tables.has_flags(component, minor - 1):
            arguments = set(tables.names_of(component, minor - 1)) - set(tables.names_of(component, minor))
            if arguments:
                nodes = _ALL if component in {Component.KUBELET, Component.KUBE_PROXY} else _SERVERS
                yield f"{component} exits at {_code(arguments)}", nodes, f"remove it from `{component.config_key}`"
    gone, locked = set(), set()
    for name in tables.names_of_gates():
        old, new = (tables.feature_gate(name, version) for version in (minor - 1, minor))
        if old and not new:
            gone.add(name)
        if new and new.is_locked and not (old and old.is_locked):
            locked.add(name)
    if gone:
        yield f"feature gates are removed: {_code(gone)}", _ALL, "remove them from `feature-gates`"
    if locked:
        yield f"feature gates are locked to their default: {_code(locked)}", _ALL, "remove other values"


def _in_release(note: UpgradeNote, minor: int, patch: int) -> str:
    release = f"v1.{minor}.{patch}"
    text = re.sub(r"docs/howto/(\S+\.md)", r"[\1](../howto/\1)", note.text)
    return text if not patch or release in text else f"From {release} on: {text}"


def _nodes(note: UpgradeNote) -> str:
    nodes = _ALL if len(note.roles) > 1 else "".join(f"{role}s" for role in note.roles)
    return f"{nodes} with {note.only_with}" if note.only_with else nodes


def _arguments(role: Role, minor: int) -> Iterator[str]:
    """Yield the lines of the drop-in with the default settings, each with its key; long values are cut."""
    key = ""
    for line in desired.k3s_config(Settings(), facts.assumed_facts(role, Version(1, minor, 0))).decode().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(" "):
            item = line.strip().removeprefix("- ").strip('"')
            yield f"{key} {item if len(item) < _LONG else item.partition('=')[0]}"
        else:
            key, _, value = line.partition(":")
            key = key.rstrip("+")
            if value:
                yield f"{key}:{value}"


def _code(names: set[str] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
