"""Fields of Go structs as JSON has them: names, types, nesting and enumerations, read from gofmt's text.

Kubernetes declares each kind of configuration file as a struct. What implements its own decoding is `any`, except the
types in _DECODED.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

_BASIC = {
    **dict.fromkeys(("float32", "float64"), "float"),
    **dict.fromkeys(("int", "int64", "time.Duration"), "int64"),
    "[]byte": "string",
    "bool": "bool",
    "int32": "int32",
    "string": "string",
    "uint32": "uint32",
}
_DECODED = {
    "k8s.io/apimachinery/pkg/api/resource.QuantityValue": "any",
    "k8s.io/apimachinery/pkg/apis/meta/v1.Duration": "duration",
    "k8s.io/apimachinery/pkg/apis/meta/v1.ObjectMeta": "object",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "object",
    "k8s.io/apimachinery/pkg/runtime.Unknown": "object",
}
_TYPE_META = "metav1.TypeMeta"
"""The fields kind and apiVersion."""
_FIELD = re.compile(r'^\t(?:(\w+) +)??(\S+)(?: +`json:"([\w-]*)\S*?".*`)?$', re.MULTILINE | re.ASCII)
"""Name, type and JSON name of a field; an embedded struct has no name, and usually no JSON name."""
_ENUMERATED = re.compile(r'^\t?(?:const )?\w+ +(\w+) += "(\w+)"$', re.MULTILINE | re.ASCII)


class GoField(NamedTuple):
    """A field that is not a structure, or an empty structure."""

    path: str
    """The names with dots, and [] after that of a list of structures."""
    go_path: str
    """The names in Go, in the same way but without []."""
    kind: str
    """The type: bool, string, int32, int64, uint32, float, duration, object or any; string(A|B); [T]; map[string]T."""


class Package(NamedTuple):
    """The declarations of a Go package."""

    name: str
    structs: dict[str, str]
    named: dict[str, str]
    """Types of other types, by name."""
    decoders: frozenset[str]
    """Types with an own UnmarshalJSON."""
    values: dict[str, list[str]]
    """The constants of each type."""
    imports: dict[str, str]
    """Packages by alias."""
    text: str = ""
    """The sources without whole lines of comments."""


class Sources(NamedTuple):
    """The modules of one version of Kubernetes in Go's module cache."""

    cache: Path
    version: str
    """Without the major: 37.2."""

    def package(self, name: str) -> Package:
        """Return a package by its import path; empty if it is not in a module of Kubernetes."""
        parts = name.split("/")
        if parts[0] != "k8s.io":
            return Package(name, {}, {}, frozenset(), {}, {})
        module = f"{parts[1]}@v{'1' if parts[1] == 'kubernetes' else '0'}.{self.version}"
        return _package(name, self.cache / "k8s.io" / module / "/".join(parts[2:]))

    def fields(self, package: str, struct: str) -> Iterator[GoField]:
        return self._struct(self.package(package), struct, "", "")

    def _struct(self, package: Package, struct: str, path: str, go_path: str) -> Iterator[GoField]:
        for name, go_type, key in _FIELD.findall(package.structs[struct]):
            if key in ("", "inline") and not name and go_type != _TYPE_META:
                owner, last = self._resolved(package, go_type)
                yield from self._struct(owner, last, path, go_path)
            elif key and key != "-":
                yield from self._field(package, go_type, path + key, go_path + name)

    def _field(self, package: Package, go_type: str, path: str, go_path: str) -> Iterator[GoField]:
        kind = self._kind(package, go_type)
        if isinstance(kind, str):
            yield GoField(path, go_path, kind)
            return
        owner, struct, suffix = kind
        fields = list(self._struct(owner, struct, f"{path}{suffix}.", f"{go_path}."))
        yield from fields or [GoField(path, go_path, "object")]

    def _kind(self, package: Package, go_type: str) -> str | tuple[Package, str, str]:
        """Return the name of a type; for a struct or a list of structs, its package, name and suffix of the path."""
        go_type = go_type.lstrip("*")
        listed, mapped = go_type.removeprefix("[]"), re.match(r"map\[[\w.]+\](.*)", go_type)
        if listed != go_type and go_type not in _BASIC:
            inner = self._kind(package, listed)
            return f"[{inner}]" if isinstance(inner, str) else (inner[0], inner[1], f"[]{inner[2]}")
        if mapped:
            inner = self._kind(package, mapped[1])
            return f"map[string]{inner}" if isinstance(inner, str) and inner != "any" else "object"
        owner, name = self._resolved(package, go_type)
        known = _BASIC.get(go_type) or _DECODED.get(f"{owner.name}.{name}")
        if known:
            return known
        if name in owner.decoders or not (name in owner.structs or name in owner.named):
            return "any"
        if name in owner.structs:
            return owner, name, ""
        values = owner.values.get(name)
        return f"string({'|'.join(values)})" if values else self._kind(owner, owner.named[name])

    def _resolved(self, package: Package, go_type: str) -> tuple[Package, str]:
        alias, _, name = go_type.rpartition(".")
        return (self.package(package.imports.get(alias, "")) if alias else package), name


@cache
def _package(name: str, directory: Path) -> Package:
    sources = (path for path in sorted(directory.glob("*.go")) if not path.name.startswith("zz_"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if not path.name.endswith("_test.go"))
    text = re.sub(r"^\s*//.*\n", "", text, flags=re.MULTILINE)
    values: dict[str, list[str]] = {}
    for owner, value in _ENUMERATED.findall(text):
        if owner != "string":
            values.setdefault(owner, []).append(value)
    return Package(
        name,
        dict(re.findall(r"^type (\w+) struct ?\{(\}|\n.*?^\})", text, re.MULTILINE | re.DOTALL)),
        dict(re.findall(r"^type (\w+) (?!struct|interface|func)(\S+)$", text, re.MULTILINE)),
        frozenset(re.findall(r"^func \(\w+ \*?(\w+)\) UnmarshalJSON", text, re.MULTILINE)),
        values,
        {
            alias or path.rpartition("/")[2]: path
            for alias, path in re.findall(r'^(?:import |\t)(?:(\w+) )?"([\w./-]+)"$', text, re.MULTILINE)
        },
        text,
    )
