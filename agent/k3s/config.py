"""K3s' effective configuration: options with their values and locations, and the component arguments in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction
from agent.base.value import Value
from agent.base.yaml_reader import resolve, shown
from agent.k3s.go_values import FALSE, TRUE, accepted, strings
from agent.k3s.options import AGENT_KEYS, ALIASES, SERVER_ONLY_KEYS
from agent.k3s.roles_and_versions import Component, Role


class ConfigValue(NamedTuple):
    """A value of an option."""

    text: str
    """The value as K3s reads it (`true` for `yes`), without secrets."""
    location: Location
    spelling: str = ""
    """The name of a component argument as it is written, if that contains `_`; empty for any other value."""


class DroppedItem(Value):
    """A list item that is lost because a later file repeats the key without `+`."""

    key: str
    value: str
    location: Location
    by: Location
    """The line that repeats the key."""


class IgnoredContent(Value):
    """Content of a file that K3s ignores silently."""

    location: Location
    what: str


class ComponentArgument(NamedTuple):
    """An argument that K3s passes to a component."""

    name: str
    """With hyphens, as the component reads it: it treats `_` as `-` (component-base, cli/flag/flags.go)."""
    spelling: str
    """The name as it is written, by which K3s merges and sorts."""
    form: str
    """"+" adds the value after K3s' own, "-" adds it before, "" replaces K3s' own."""
    value: str


class UnusableValueError(InputError):
    """A key has a value that is neither a single value nor a list of single values."""

    def __init__(self, key: str, what: str, location: Location) -> None:
        problem = f"`{shown(key)}` {what}; K3s accepts a single value or a list of single values"
        super().__init__(location, problem, Instruction("quote an item that contains a colon followed by a space"))
        self.key = ALIASES.get(key, key)


class MergedConfig(Value):
    """K3s' effective configuration."""

    values: Mapping[str, tuple[ConfigValue, ...]]
    """The values of each option that is set, by its long name, in the order in which K3s reads them."""
    begins: Mapping[str, Location]
    """By key, the last line in the files that sets it without `+`. Values before that line are lost."""
    dropped: tuple[DroppedItem, ...]
    ignored: tuple[IgnoredContent, ...]
    problems: tuple[InputError, ...]
    """Invalid files and values; see startup_problems. Valid content of the same file is merged."""
    unjudged: tuple[InputError, ...]
    """Files that exceed the limits of this program, but perhaps not those of K3s."""

    def startup_problems(self, role: Role) -> tuple[InputError, ...]:
        """Return the problems that stop K3s in this role.

        k3s server drops unknown keys, whatever their value; k3s agent exits (k3s, pkg/configfilearg).
        """
        known = AGENT_KEYS | SERVER_ONLY_KEYS
        is_server = role is Role.SERVER
        return tuple(
            problem
            for problem in self.problems
            if not (is_server and isinstance(problem, UnusableValueError) and problem.key not in known)
        )

    def locations(self) -> Mapping[str, Location]:
        """Return the location of the last value of each option that is set."""
        return {key: values[-1].location for key, values in self.values.items() if values}

    def scalar(self, key: str) -> ConfigValue | None:
        """Return the value of an option that takes one: the last that is set."""
        values = self.values.get(key)
        return values[-1] if values else None

    def items(self, key: str) -> tuple[ConfigValue, ...]:
        """Return all values of a list option, in order."""
        return self.values.get(key, ())

    def boolean(self, key: str) -> bool | None:
        """Return the value of a boolean option. None if it is not set, or is not a boolean, which stops K3s."""
        found = self.scalar(key)
        return None if found is None or found.text not in TRUE | FALSE else found.text in TRUE

    def component_arguments(self, key: str) -> Mapping[str, tuple[ConfigValue, ...]]:
        """Return the arguments that an option such as `kube-apiserver-arg` sets, each with its values in K3s' order.

        Of several values the component uses the last or all, depending on the argument. Values of `name-=x` come
        before all others (k3s, pkg/util/args.go). K3s sorts by name, so `anonymous_auth` follows `anonymous-auth`.
        """
        return self._arguments.get(key, {})

    def argument(self, component: Component, name: str) -> tuple[ConfigValue, ...]:
        """Return the values that a component gets for an argument, in K3s' order."""
        return self.component_arguments(component.config_key).get(name, ())

    def texts_at(self, key: str, at: Location) -> tuple[str, ...]:
        """Return the values of an option in a line, those that K3s drops last."""
        return self._texts.get((key, at), ())

    def arguments_at(self, key: str, name: str, at: Location) -> tuple[str, ...]:
        """Return the items of a component's option in a line that set one argument."""
        return self._argument_texts.get((key, name, at), ())

    def lines_of(self, key: str, path: PurePosixPath) -> Sequence[Location]:
        """Return the lines of a file that have values of an option."""
        return self._lines.get((key, path), ())

    @cached_property
    def _texts(self) -> Mapping[tuple[str, Location], tuple[str, ...]]:
        found: dict[tuple[str, Location], list[str]] = {}
        for key, values in self.values.items():
            for value in values:
                found.setdefault((key, value.location), []).append(value.text)
        for item in self.dropped:
            found.setdefault((item.key, item.location), []).append(item.value)
        return {place: tuple(texts) for place, texts in found.items()}

    @cached_property
    def _argument_texts(self) -> Mapping[tuple[str, str, Location], tuple[str, ...]]:
        found: dict[tuple[str, str, Location], list[str]] = {}
        for (key, at), texts in self._texts.items():
            for text in texts:
                found.setdefault((key, component_argument(text).name, at), []).append(text)
        return {place: tuple(texts) for place, texts in found.items()}

    @cached_property
    def _lines(self) -> Mapping[tuple[str, PurePosixPath], Sequence[Location]]:
        found: dict[tuple[str, PurePosixPath], list[Location]] = {}
        for key, at in self._texts:
            found.setdefault((key, at.path), []).append(at)
        return found

    @cached_property
    def _arguments(self) -> Mapping[str, Mapping[str, tuple[ConfigValue, ...]]]:
        return {key: self._component_arguments(key) for key in self.values if key.endswith("-arg")}

    def _component_arguments(self, key: str) -> Mapping[str, tuple[ConfigValue, ...]]:
        found: dict[str, dict[str, list[ConfigValue]]] = {}
        for text, location, _ in self.items(key):
            name, spelling, form, value = component_argument(text)
            values = found.setdefault(name, {}).setdefault(spelling, [])
            other = "" if spelling == name else spelling
            values.insert(0 if form == "-" else len(values), ConfigValue(value, location, other))
        return {name: tuple(value for key in sorted(by) for value in by[key]) for name, by in found.items()}

    def keeps_default(self, key: str, name: str) -> bool:
        """Return whether K3s keeps its own value for a component argument: not set, or extended by `+=` or `-=`.

        Only the first occurrence of the argument decides (k3s, pkg/util/args.go). With `_` it is another argument to
        K3s.
        """
        arguments = (component_argument(value.text) for value in self.items(key))
        return next((argument.form for argument in arguments if argument.spelling == name), "+") != ""


def string_slice(text: str) -> tuple[str, ...]:
    """Parse a list as pflag's StringSlice does, with the quotes of CSV. Text that pflag rejects is split at commas."""
    return (accepted(strings, text) if '"' in text else None) or tuple(text.split(","))


def component_argument(text: str) -> ComponentArgument:
    """Parse an item of an option such as `kubelet-arg`: `name=x`, `name+=x`, `name-=x`, or `name`, which means `true`.

    As K3s does (k3s, pkg/util/args.go), which also accepts leading dashes.
    """
    name, separator, value = text.removeprefix("--").partition("=")
    form = name[-1:] if name.endswith(("+", "-")) else ""
    spelling = name.rstrip("+-")
    return ComponentArgument(spelling.replace("_", "-"), spelling, form, value if separator else "true")


def has_suffix(name: str, *suffixes: str) -> bool:
    """Return whether a file name ends in one of the suffixes, in any case, as K3s compares (k3s, pkg/agent/util)."""
    return name.lower().endswith(suffixes)


_PLAIN = r"(?a)[A-Za-z/](?:[\w./=,@%+:-]*[\w./=,@%+-])?"
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dropin(header: str, scalars: Mapping[str, str | bool], lists: Mapping[str, Sequence[str]]) -> bytes:
    """Return a drop-in: `header` as comments, `key: value` for scalars, `key+:` with its items for lists.

    Equal arguments result in equal bytes, with the keys in their given order. A list without items is omitted.
    K3s removes spaces at both ends of a value.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += [
        f"{_quoted(key)}: {str(value).lower() if isinstance(value, bool) else _quoted(value)}"
        for key, value in scalars.items()
    ]
    for key, items in lists.items():
        if items:
            lines.append(f"{_quoted(f'{key}+')}:")
            lines += [f"  - {_quoted(item)}" for item in items]
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(text: str) -> str:
    """Return the text as a plain YAML scalar if that reads back as the same text, else in double quotes."""
    if re.fullmatch(_PLAIN, text) and resolve(text) == text:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - the limits of each escape
