"""K3s' merge of its configuration files, command line and environment. Pure.

K3s turns its files, the main file first and then the drop-ins by name, into a list of options and appends those of the
command line (k3s, pkg/configfilearg/parser.go). In the files, `key:` replaces what earlier files set, and `key+:`
appends to it. In the list, the last value of an option with one value counts; a list option collects all values. An
environment variable sets an option only if the list does not contain it (urfave/cli).

merge_configuration() replaces secret values, and text that looks like a K3s token under any key, so that nothing can
print them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction
from agent.base.value import Value
from agent.base.yaml_reader import KeyValue, Node, Scalar
from agent.k3s.config import ConfigValue, DroppedItem, IgnoredContent, MergedConfig, UnusableValueError
from agent.k3s.options import ALIASES, VARIABLES, Word, given_options
from agent.k3s.redaction import shown_key, without_secrets

_COMPONENT = "-arg"


class ConfigText(Value):
    """A file of K3s' configuration. Its repr omits the content, which can contain the cluster's token."""

    path: PurePosixPath
    data: bytes

    def __repr__(self) -> str:
        return f"ConfigText({str(self.path)!r}, {len(self.data)} bytes)"


def merge_configuration(
    files: Iterable[ConfigText], arguments: Sequence[Word] = (), environment: Mapping[str, Word] | None = None
) -> MergedConfig:
    """Merge K3s' files in their order, the words after `k3s server` or `k3s agent`, and the service's environment.

    Raises nothing: problems of a file are part of the result.
    """
    merger = _FileMerger()
    for file in files:
        merger.read(file)
    values: dict[str, list[ConfigValue]] = {}
    words = given_options(arguments)
    given = ((shown_key(name), without_secrets(name, text), location) for name, text, location in words)
    for name, text, location in (*merger.options(), *given):
        values.setdefault(ALIASES.get(name, name), []).append(ConfigValue(text, location))
    for variable, (text, location) in (environment or {}).items():
        option = VARIABLES.get(variable)
        if option is not None and text:
            values.setdefault(option, [ConfigValue(without_secrets(option, text), location)])
    return MergedConfig(
        values={key: tuple(found) for key, found in values.items()},
        begins={ALIASES.get(key, key): location for key, location in merger.begins.items()},
        dropped=tuple(merger.dropped),
        ignored=tuple(merger.ignored),
        problems=tuple(merger.problems),
        unjudged=tuple(merger.unjudged),
    )


class _FileValue(Value):
    """What the files set for one key so far."""

    values: list[ConfigValue]
    is_list: bool
    is_null: bool = False
    """Whether the value is YAML's null, as in `key:`, and not an empty string, as in `key: ""`."""

    def listed(self) -> list[ConfigValue]:
        """Return the values that `+` appends to. K3s' toSlice omits null, but keeps an empty string."""
        return [] if self.is_null else self.values


class _FileMerger:
    """The state of K3s' readConfigFile."""

    __slots__ = ("begins", "dropped", "ignored", "problems", "unjudged", "values")

    def __init__(self) -> None:
        self.values: dict[str, _FileValue] = {}
        self.begins: dict[str, Location] = {}
        self.dropped: list[DroppedItem] = []
        self.ignored: list[IgnoredContent] = []
        self.problems: list[InputError] = []
        self.unjudged: list[InputError] = []

    def read(self, file: ConfigText) -> None:
        try:
            documents = _documents(file)
        except yaml_reader.BoundsError as error:
            self.unjudged.append(error)
            return
        except InputError as error:
            self.problems.append(error)
            return
        for document in documents[1:]:
            self._ignore(file.path, document.line, "K3s reads only the first document of a file")
        node = documents[0].node if documents else None
        if isinstance(node, yaml_reader.YamlMapping):
            self._mapping(node, file.path)
        elif node is not None and not (isinstance(node, yaml_reader.Scalar) and node.value is None):
            kind = "a list" if isinstance(node, yaml_reader.YamlSequence) else "a single value"
            problem = f"the file contains {kind}, expected options as `key: value`"
            self.problems.append(
                InputError(Location(file.path, node.line), problem, Instruction("write each option as `key: value`"))
            )

    def options(self) -> Iterator[tuple[str, str, Location]]:
        """Yield the options that K3s makes of the files: name, value without secrets, and location."""
        for key, value in self.values.items():
            for text, location, _ in value.values:
                yield key, text, location

    def _ignore(self, path: PurePosixPath, line: int, what: str) -> None:
        self.ignored.append(IgnoredContent(Location(path, line), what))

    def _mapping(self, mapping: yaml_reader.YamlMapping, path: PurePosixPath) -> None:
        for first, again in yaml_reader.duplicates(mapping):
            if first.key != "<<" and not first.key.endswith("+"):
                what = f"`{shown_key(first.key)}` is set twice in this file; K3s uses line {again.line}"
                self._ignore(path, first.line, what)
        for entry in mapping.entries:
            if entry.key == "<<":
                # go-yaml merges it into the slice that it then replaces (decode.go, mappingSlice).
                self._ignore(path, entry.line, "K3s ignores YAML merge keys (`<<`)")
            else:
                self._entry(entry, path)

    def _entry(self, entry: KeyValue, path: PurePosixPath) -> None:
        key, line = shown_key(entry.key).removesuffix("+"), Location(path, entry.line)
        new = self._value(key, entry.node, path)
        if new is None:
            return
        old = self.values.get(key)
        if old is not None and entry.key.endswith("+"):
            self.values[key] = _FileValue([*old.listed(), *new.listed()], is_list=True)
            return
        if not entry.key.endswith("+"):
            self.begins[key] = line
        if old is not None and (old.is_list or new.is_list or key.endswith(_COMPONENT)):
            kept = {value.text for value in new.values}
            self.dropped += [
                DroppedItem(key, value.text, value.location, line) for value in old.values if value.text not in kept
            ]
        self.values[key] = new

    def _value(self, key: str, node: Node, path: PurePosixPath) -> _FileValue | None:
        if isinstance(node, yaml_reader.YamlMapping):
            self.problems.append(UnusableValueError(key, "contains a mapping", Location(path, node.line)))
            return None
        if isinstance(node, yaml_reader.Scalar):
            return _FileValue([_config_value(key, node, path)], is_list=False, is_null=node.value is None)
        values = []
        for item in node.items:
            if isinstance(item, yaml_reader.Scalar):
                values.append(_config_value(key, item, path))
            else:
                what = "has an item that is not a single value"
                self.problems.append(UnusableValueError(key, what, Location(path, item.line)))
        return _FileValue(values, is_list=True)


def _documents(file: ConfigText) -> tuple[yaml_reader.Document, ...]:
    """Return the documents of a file; only the first if another one is not YAML. Raises as read_documents."""
    try:
        return yaml_reader.read_documents(file.data, file.path)
    except yaml_reader.BoundsError:
        raise
    except InputError as error:
        first = yaml_reader.read_first_document(file.data, file.path)
        if first is None:
            raise
        line = error.location.line or 1
        return (yaml_reader.Document(first, 1), yaml_reader.Document(yaml_reader.Scalar(None, "", line), line))


def _config_value(key: str, scalar: Scalar, path: PurePosixPath) -> ConfigValue:
    return ConfigValue(without_secrets(key, _go_text(scalar)), Location(path, scalar.line))


def _go_text(scalar: Scalar) -> str:
    """Return a value as K3s reads it: Go's text of the parsed YAML value (k3s, pkg/configfilearg/convert.go)."""
    value = scalar.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value).strip()
