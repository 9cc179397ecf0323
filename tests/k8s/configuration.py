"""K3s' configuration files merged as K3s merges them, for the components of these tests.

Written from K3s' source (pkg/configfilearg/parser.go and pkg/util/args.go), and independent of the merge in `agent`.
Both are written by this project; only K3S=/path/to/k3s tests K3s' own merge.

Differences from K3s: PyYAML's YAML 1.1 instead of go-yaml (dates and base-60 numbers differ), and no remote
configuration files (http://).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

CONFIG_FILE = Path("/etc/rancher/k3s/config.yaml")


class Configuration(NamedTuple):
    """The options of all files, each with its values as text, in the order in which K3s passes them on."""

    options: Mapping[str, tuple[str, ...]]

    def all(self, key: str) -> tuple[str, ...]:
        return self.options.get(key, ())

    def one(self, key: str, default: str = "") -> str:
        """Return the value of an option; K3s' command line parser keeps the last one."""
        return self.all(key)[-1] if self.all(key) else default

    def true(self, key: str) -> bool:
        """Return whether a boolean option is on, in a notation of Go's strconv.ParseBool."""
        return self.one(key) in {"1", "t", "T", "true", "TRUE", "True"}


def merged(config: Path = CONFIG_FILE) -> Configuration:
    """Read the file and its drop-ins: a later key replaces an earlier one, and `key+` appends to it."""
    options: dict[str, object] = {}
    for file in (config, *_drop_ins(config)):
        for name, value in _first_document(file).items():
            key = str(name).removesuffix("+")
            appends = str(name).endswith("+") and key in options
            options[key] = [*_items(options[key]), *_items(value)] if appends else value
    return Configuration({key: tuple(_values(value)) for key, value in options.items()})


def component_arguments(defaults: Mapping[str, str], given: Iterable[str]) -> list[str]:
    """Return a component's arguments: `a=b` replaces K3s' default, `a+=b` follows it, `a-=b` precedes it; sorted."""
    left = {name: [value] for name, value in defaults.items()}
    found: dict[str, list[str]] = {}
    for text in given:
        written, equals, value = text.removeprefix("--").partition("=")
        new = [value if equals else "true"]
        name = written.rstrip("-+")
        default, earlier = left.pop(name, []), found.get(name, [])
        if written.endswith("+"):
            found[name] = [*default, *earlier, *new]
        elif written.endswith("-"):
            found[name] = [*new, *default, *earlier]
        else:
            found[name] = [*earlier, *new]
    return [f"--{name}={value}" for name, values in sorted({**left, **found}.items()) for value in values]


def _drop_ins(config: Path) -> list[Path]:
    directory = config.with_name(f"{config.name}.d")
    files = sorted(directory.iterdir()) if directory.is_dir() else []
    return [file for file in files if file.suffix.lower() in {".yaml", ".yml"} and not file.is_dir()]


def _first_document(file: Path) -> Mapping[object, object]:
    if not file.exists():
        return {}
    with file.open(encoding="utf-8") as stream:
        document: object = next(_documents(stream.read()), None)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise TypeError(f"cannot read {file}: found {type(document).__name__}, expected a mapping")
    return document


def _documents(text: str) -> Iterator[object]:
    yield from yaml.safe_load_all(text)


def _items(value: object) -> Sequence[object]:
    """Return the values of a key as a list (toSlice): null has no items, an empty string is one item."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _values(value: object) -> Sequence[str]:
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


def _text(value: object) -> str:
    """Return a scalar as Go prints it, without white space around it (convert.ToString)."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()
