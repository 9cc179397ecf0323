"""Edits of the options of K3s: in its configuration files, on its command line, and in its environment. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Edit, Set
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    operators_plugins,
)
from agent.harden.guide.k3s_options import AUDIT_RECEIVER
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.config import component_argument, string_slice
from agent.k3s.options import VARIABLES
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import PurePosixPath

    from agent.harden.situation import Situation
    from agent.k3s.components.effective_arguments import Given

_PLUGINS_KEY = Component.API_SERVER.config_key
_LONGEST_LINE = 2000
"""Characters of a line whose other items an edit repeats; thousands of edits of a longer one would take minutes."""


def replaced(situation: Situation, at: Location, old: str, new: str, key: str = "") -> Edit:
    """Return the edit of a value in K3s' configuration; an empty one removes it. A command line has the option `key`.

    The other items of a list in one line stay; see `with_empty_lists` for the key of a list.
    """
    line = situation.line_at(at)
    if not new and at.path in situation.facts.command_line_files and key:
        return Edit(at, f"--{key} {old}" if f"--{key} {old}" in line else f"--{key}={old}")
    if not new and len(line) <= _LONGEST_LINE and "[" in line.partition(old)[0]:
        return Edit(at, line.strip(), _without_items(line.strip(), (old,)))
    # Without quotes, the comma would end an item of a list in brackets.
    is_bare = "," in new and "[" in line.partition(old)[0] and not re.search(f"[\"']{re.escape(old)}", line)
    return Edit(at, old, f'"{new}"' if is_bare else new)


def _without_items(line: str, texts: Iterable[str]) -> str:
    """Return a line with a list in brackets without some items; empty if none is left."""
    for text in texts:
        item = rf"[\"']?(?:--)?{re.escape(text)}[\"']?"
        line = re.sub(rf",\s*{item}(?=\s*[],])|(?<=\[){item}\s*,\s*|(?<=\[)\s*{item}", "", line, count=1)
    return "" if re.search(r"\[\s*]", line) else line


def without(situation: Situation, key: str, at: Location, texts: Iterable[str] | None = None) -> tuple[Edit, ...]:
    """Return the edits that remove values of an option from a line; all by default."""
    gone = [*dict.fromkeys(situation.facts.merged_config.texts_at(key, at) if texts is None else texts)]
    line = situation.line_at(at).strip()
    variables = (
        name
        for unit in situation.facts.units
        for name, word in unit.environment.items()
        if VARIABLES.get(name) == key and word.location == at
    )
    name = next(variables, key if any(HIDDEN in text for text in gone) else "")
    if name:
        return (Edit(at, name),)
    if at.path in situation.facts.command_line_files:
        return tuple(replaced(situation, at, text, "", key) for text in gone)
    is_whole = not line.startswith("-") and "[" not in line
    removals = [Edit(at, line)] if is_whole or not gone else []
    if not removals and "[" in line and len(line) <= _LONGEST_LINE:
        removals = [Edit(at, line, _without_items(line, gone))]
    return tuple(with_empty_lists(situation, key, removals or [Edit(at, text) for text in gone]))


def changed(situation: Situation, component: Component, name: str, item: Given, better: str) -> Edit:
    """Return the edit that sets an argument, or its field in a file, to a better value; an empty one removes it."""
    if item.by is GivenBy.KUBELET_FILE:
        return _changed_field(situation, component, name, item, better)
    texts = situation.facts.merged_config.arguments_at(component.config_key, name, item.at)
    same = [text for text in texts if component_argument(text).value == item.value]
    if not texts:
        better = better and f"{item.field or name}: {better}"
        return replaced(situation, item.at, item.written or f"{name}={item.value}", better)
    return replaced(situation, item.at, (same or texts)[0], better and f"{name}={better}", component.config_key)


def _changed_field(situation: Situation, component: Component, name: str, item: Given, better: str) -> Edit:
    from agent.k3s.components.files.fields import as_field  # of few nodes

    line, text = situation.line_at(item.at).strip(), as_field(component, name, better or "true")
    path = text.partition(":")[0]
    leaf = path.rpartition(".")[2]
    if not line.lstrip("\"'").startswith(leaf):
        found = re.search(rf"[\"']?{re.escape(leaf)}[\"']?:\s*(\[[^]]*]|[^,}}\]]*)", line)
        if found is None:  # an item of a list or mapping on a line of its own, which stays without it
            return Edit(item.at, line)
        line = found[0].rstrip()
    return Edit(item.at, line, text[len(path) - len(leaf) :] if better else "")


def in_quotes(situation: Situation, at: Location, whole: str) -> Edit:
    """Return the edit that quotes a list, so that its commas do not end an item of a list in brackets."""
    written = re.search(r",\s*".join(map(re.escape, whole.split(","))), situation.line_at(at))
    return Edit(at, written[0] if written else whole, f"'{whole}'")


def without_argument(situation: Situation, key: str, name: str, at: Location) -> tuple[Edit | Set, ...]:
    """Return the edits that remove an argument of a component from a line, or the setting by which it is there."""
    # An edit of the drop-in would be undone by the next apply.
    if name == AUDIT_RECEIVER.name and at.path == situation.facts.dropin_path:
        return (setting_to(situation, "audit.webhook", ""),)
    return _without_argument(situation, key, name, at)


def _without_argument(situation: Situation, key: str, name: str, at: Location) -> tuple[Edit, ...]:
    return without(situation, key, at, situation.facts.merged_config.arguments_at(key, name, at))


def without_name(situation: Situation, key: str, name: str, at: Location, argument: str = "") -> tuple[Edit, ...]:
    """Return the edits that remove a name from the comma-separated values in a line, of components those of `argument`.

    An empty name removes superfluous commas. A value without another name is removed.
    """
    if name and len(situation.line_at(at)) > _LONGEST_LINE:
        return (Edit(at, name),)
    edits: list[Edit] = []
    texts = (
        situation.facts.merged_config.arguments_at(key, argument, at)
        if argument
        else situation.facts.merged_config.texts_at(key, at)
    )
    for text in texts:
        begin, value = ("".join(text.partition("=")[:2]), text.partition("=")[2]) if argument else ("", text)
        kept = [part for part in value.split(",") if part.strip() != name]
        left = begin + ",".join(kept) if any(kept) else ""
        if left != text:
            edits += (replaced(situation, at, text, left, key),) if left else without(situation, key, at, (text,))
    return tuple(edits)


def renamed_key(situation: Situation, key: str, at: Location, meant: str) -> tuple[Edit, ...]:
    """Return the edit after which a line sets the option that was meant; without one, the line is removed."""
    if meant:
        return (Edit(at, key, meant),)
    # A name that K3s does not know can be a secret in the wrong place.
    return (Edit(at, HIDDEN),) if key == HIDDEN else without(situation, key, at)


def settings_path(situation: Situation) -> PurePosixPath:
    """Return the path of the settings."""
    recorded = situation.to_record.settings
    return recorded.path if recorded is not None else DEFAULT_SETTINGS


def setting_to(situation: Situation, key: str, value: str) -> Set:
    """Return the step that sets a key of the settings."""
    path = settings_path(situation)
    section, _, name = key.rpartition(".")
    line = situation.line_of_key(path, section or key)
    while section and line:  # until the key in the section, or what follows the section
        line += 1
        text = situation.line_at(Location(path, line))
        if text.strip().startswith(f"{name}:"):
            break
        line = line if text.startswith((" ", "#")) else 0
    return Set(key, value, Location(path, line))


def with_empty_lists(situation: Situation, key: str, removals: Sequence[Edit]) -> list[Edit]:
    """Return removals of list items with those of the keys of lists that become empty.

    K3s passes an empty value for a key without one, and the component does not start.
    """
    edits = list(removals)
    for path in dict.fromkeys(edit.location.path for edit in removals if not edit.new):
        lines = situation.facts.merged_config.lines_of(key, path)
        gone = {edit.location for edit in removals if not edit.new}
        if not lines or len(lines) > len(gone) or not gone.issuperset(lines):
            continue
        start = situation.line_of_key(path, key, min(at.line for at in lines))
        if start:
            at = Location(path, start)
            edits = [edit for edit in edits if edit.location != at]
            edits.append(Edit(at, situation.line_at(at).strip()))
    return edits


def appended_list(key: str, begins: Location) -> Edit:
    """Return the edit that makes a list add to the values of earlier files instead of dropping them."""
    return Edit(begins, key, f"{key}+")


def added(situation: Situation, key: str, item: str) -> Edit:
    """Return the edit that adds an argument to a list of K3s' main file.

    A line of its own stays right if another edit removes the list, or adds an argument, too: K3s adds up keys with `+`.
    """
    return Edit(Location(situation.facts.configuration.path), new=f'{key}+: ["{item}"]')


def with_item(situation: Situation, path: PurePosixPath, key: str, item: str) -> Edit:
    """Return the edit that adds an item, in the form of YAML, to a list of a file."""
    start = situation.line_of_key(path, key)
    if not start:
        return Edit(Location(path), new=f"{key}: [{item}]")
    at = Location(path, start)
    value = situation.line_at(at).partition(":")[2].strip()
    if value.startswith("["):
        return Edit(at, "[", f"[{item}, ")
    if value and not value.startswith("#"):
        return Edit(at, value, f"[{value}, {item}]")
    indent = re.match(r"\s*", situation.line_at(Location(path, start + 1)))
    return Edit(at, new=f"{indent[0] if indent else ''}- {item}")


def without_own_admission(situation: Situation) -> tuple[Edit | Set, ...]:
    """Return the edits after which the API server reads psa.yaml of the hardening and no file of the operator."""
    own = situation.k3s_files.own_admission
    if own is None:
        return ()
    return without_argument(situation, _PLUGINS_KEY, ADMISSION_CONFIGURATION_ARGUMENT, own.location)


def plugins_joined(situation: Situation, value: str) -> tuple[Edit, ...]:
    """Return the edits after which the operator's configuration has this list of plugins, once; empty if it has none.

    The drop-in then needs no list. Each edit adds one plugin to those of a line, so that the edits of several problems
    can be made in any order. Removals begin with the last line, because they change the numbers of later lines.
    """
    values = operators_plugins(situation.facts)
    locations = list(dict.fromkeys(value.location for value in values))
    if not values:
        return ()
    others = sorted(locations[1:], key=lambda at: (str(at.path), -at.line))
    removals = [
        edit for at in others for edit in _without_argument(situation, _PLUGINS_KEY, ADMISSION_PLUGINS_ARGUMENT, at)
    ]
    return (*_with_plugins(situation, value, locations[0]), *removals)


def _with_plugins(situation: Situation, value: str, at: Location) -> Iterator[Edit]:
    """Yield the edits after which a line has these plugins, once."""
    first, *others = situation.facts.merged_config.arguments_at(_PLUGINS_KEY, ADMISSION_PLUGINS_ARGUMENT, at)
    argument = component_argument(first)
    names, wanted = string_slice(argument.value), value.split(",")
    if others or argument.spelling != argument.name or not set(names) <= set(wanted):
        yield replaced(situation, at, first, f"{ADMISSION_PLUGINS_ARGUMENT}={value}")
        yield from (replaced(situation, at, text, "", _PLUGINS_KEY) for text in others)
        return
    bare = re.search(rf"\[.*?(?<![\"']){re.escape(first)}((?:,\s*[^][\s=,\"']+(?=\s*[],]))*)", situation.line_at(at))
    if len(names) == 1 and bare:  # without quotes, the comma would end an item of a list in brackets
        cut = [name.strip() for name in bare[1].split(",")[1:]]
        names = (*names, *cut)
        yield in_quotes(situation, at, ",".join((first, *cut)))
    yield from (Edit(at, first, f"{first},{plugin}") for plugin in wanted if plugin not in names)
