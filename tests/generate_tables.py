"""Generator of the tables in agent/k3s/components: `make tables COMPONENTS=DIRECTORY`.

DIRECTORY has one folder for each version, such as 1.37.2, with the built programs in `bin`. The sources of the same
versions of k8s.io/kubernetes are in Go's module cache, where the build put them. A minor without a folder keeps its
rows. The program prints the name of each file that it wrote.

The flags are those of each program's --help. It omits hidden and deprecated flags, so the sources are searched for
their names. Each name is passed with an invalid value: the error shows whether the flag exists and its kind of value.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from agent.k3s.components.tables import API_VERSIONS, FEATURE_GATES, FIRST_MINOR, FLAGS, KUBELET_FIELDS, LAST_MINOR
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TABLES = Path(__file__).parents[1] / "agent/k3s/components"
MINORS = range(FIRST_MINOR, LAST_MINOR + 1)

_FLAG = re.compile(
    r"^ {2,6}(?:-\w, )?--([a-z0-9][\w.-]*)(?: (\S+?))?(?:\[=[^\]]*\])?(?: {2,}|$)", re.MULTILINE | re.ASCII
)
_KINDS = {
    "seccomp-default": "bool",
    "node-labels": "mapLabel",
    "runtime-config": "mapLabel",
    "eviction-hard": "mapLess",
    "eviction-soft": "mapLess",
    "cpu-manager-policy-options": "mapNoSplit",
}
"""Kinds that --help does not show: a word in backquotes replaces the kind, and several types have the same name."""

_KIND_BY_ERROR = (
    ("strconv.ParseBool", "bool"),
    ("strconv.ParseInt", "int"),
    ("strconv.ParseUint", "uint"),
    ("strconv.ParseFloat", "float"),
    ("time: ", "duration"),
    ("key=value", "stringToString"),
)
_STAGES = {"Alpha": "alpha", "Beta": "beta", "": "ga", "GA": "ga", "Deprecated": "deprecated"}
_SOURCES = (
    "kubernetes@v1.{version}/cmd",
    "kubernetes@v1.{version}/pkg",
    "apiserver@v0.{version}",
    "component-base@v0.{version}",
    "controller-manager@v0.{version}",
    "cloud-provider@v0.{version}",
    "apiextensions-apiserver@v0.{version}/pkg",
    "client-go@v0.{version}/features",
)


class Built(NamedTuple):
    """The built programs of one version."""

    version: str
    """Without the major: 37.2."""
    programs: Path

    @property
    def minor(self) -> int:
        """Return the minor version."""
        return int(self.version.partition(".")[0])


def built_in(directory: Path) -> list[Built]:
    """Return the versions with programs below a directory."""
    found = [
        Built(path.name.removeprefix("1."), path / "bin")
        for path in sorted(directory.glob("1.*"))
        if (path / "bin/kube-apiserver").exists()
    ]
    return [one for one in found if one.minor in MINORS]


def flags(built: Built) -> Iterator[tuple[str, str, str]]:
    """Yield component, flag and kind of value of all flags of one version."""
    hidden = _hidden_names(built)
    for component in Component:
        program = built.programs / component.value
        if not program.exists():
            continue
        text = _output(program, "--help")
        found = {name: kind or "bool" for name, kind in _FLAG.findall(text)}
        # Flags are indented by two to six spaces; other lines of a usage text can also start with a name.
        for name in sorted(hidden - found.keys()):
            kind = _kind_of_hidden(program, name)
            if kind:
                found[name] = kind
        for name, kind in found.items():
            yield component.value, name, _KINDS.get(name, _kind(component, name, kind))


def _kind(component: Component, name: str, kind: str) -> str:
    if name == "feature-gates":
        return "mapStringBool" if component in (Component.KUBELET, Component.KUBE_PROXY) else "gates"
    return kind


def _hidden_names(built: Built) -> set[str]:
    text = "\n".join(_sources(built))
    return set(re.findall(r'Mark(?:Deprecated|Hidden)\(\s*"([\w.-]+)"', text))


def _kind_of_hidden(program: Path, name: str) -> str:
    """Return the kind of value of a flag that --help may not show; empty if the program has no such flag."""
    error = _output(program, f"--{name}=?", "--help")
    if "unknown flag" in error:
        return ""
    return next((kind for words, kind in _KIND_BY_ERROR if words in error), "string")


def _output(program: Path, *arguments: str) -> str:
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return run.stdout + run.stderr


def _sources(built: Built) -> Iterator[str]:
    cache = Path(_output(Path("go"), "env", "GOMODCACHE").strip()) / "k8s.io"
    for source in _SOURCES:
        for path in sorted((cache / source.format(version=built.version)).rglob("*.go")):
            if not path.name.endswith("_test.go"):
                yield path.read_text(encoding="utf-8")


def gates(built: Built) -> Iterator[tuple[str, str]]:
    """Yield name and cell of the table for all feature gates of one version."""
    cache = Path(_output(Path("go"), "env", "GOMODCACHE").strip()) / "k8s.io"
    path = cache / f"kubernetes@v1.{built.version}/test/compatibility_lifecycle/reference/versioned_feature_list.yaml"
    names = _gate_names(built)
    needs = _dependencies(built, cache, names)
    values = set(names.values())
    now, before = (1, built.minor), (1, built.minor - 1)
    for gate in yaml.safe_load(path.read_text(encoding="utf-8")):
        in_force = [
            spec
            for spec in gate["versionedSpecs"]
            if _number(spec["version"]) <= now and _number(spec.get("minCompatibilityVersion", "1.0")) <= before
        ]
        if in_force:
            spec = in_force[-1]
            lock = "!" if spec["lockToDefault"] else ""
            others = f"({','.join(needs[gate['name']])})" if needs.get(gate["name"]) else ""
            state = f"{_STAGES[spec['preRelease']]}={str(spec['default']).lower()}{lock}{others}"
            # The lists of 1.34 and 1.35 have the constants of a few gates instead of their names.
            yield gate["name"] if gate["name"] in values else names.get(gate["name"], gate["name"]), state
    path = cache / f"client-go@v0.{built.version}/features/known_features.go"
    yield from client_gates(path.read_text(encoding="utf-8"), names, built.minor)


def client_gates(source: str, names: Mapping[str, str], minor: int) -> Iterator[tuple[str, str]]:
    """Yield name and cell for the gates of client-go, which each component registers, too. The list omits them."""
    _, _, text = source.partition("KubernetesFeatureGates = map[Feature]")
    constant = ""
    found: dict[str, str] = {}
    for line in text.splitlines():
        constant = (re.match(r"\t(\w+):", line) or ["", constant])[1]
        spec = dict(re.findall(r"(\w+): (?:version[.]MustParse\()?\"?([\w.]+)", line))
        if "Default" in spec and _number(spec.get("Version", "1.0")) <= (1, minor):
            lock = "!" if spec.get("LockToDefault") == "true" else ""
            found[names[constant]] = f"{_STAGES[spec['PreRelease']]}={spec['Default']}{lock}"
    yield from found.items()


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _gate_names(built: Built) -> dict[str, str]:
    """Return the names of the gates by their constants."""
    text = "\n".join(_sources(built))
    return dict(re.findall(r'\b(\w+)\s+(?:featuregate\.|clientfeatures\.)?Feature\s+= "(\w+)"', text))


def _dependencies(built: Built, cache: Path, names: dict[str, str]) -> dict[str, list[str]]:
    """Return the gates that each gate needs, from the map in pkg/features/kube_features.go."""
    path = cache / f"kubernetes@v1.{built.version}/pkg/features/kube_features.go"
    _, _, text = path.read_text(encoding="utf-8").partition("\nvar defaultKubernetesFeatureGateDependencies = ")
    found: dict[str, list[str]] = {}
    for gate, needed in re.findall(r"^\t([\w.]+):\s*\{(.*)\},", text.partition("\n}\n")[0], re.MULTILINE):
        plain = re.sub(r"featuregate\.Feature\(([\w.]+)\)", r"\1", needed)
        others = [names[_last(one)] for one in plain.split(",") if one.strip()]
        if others:
            found[names[_last(gate)]] = others
    return found


def _last(name: str) -> str:
    return name.strip().rpartition(".")[2]


def flags_table(versions: Iterable[Built], present: str = "") -> str:
    """Return the table of flags, with the rows of `present` for the minors and components that were not built."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    renewed = set()
    for built in versions:
        for component, name, kind in flags(built):
            renewed.add((component, built.minor))
            found.setdefault((component, name), {})[built.minor] = kind
    for line in present.splitlines():
        if line and not line.startswith("#"):
            component, name, kind, minors = line.split("\t")
            first, _, last = minors.partition("-")
            for minor in range(int(first), int(last or first) + 1):
                if (component, minor) not in renewed:
                    found.setdefault((component, name), {})[minor] = kind
    lines = [
        "# Generated by `make tables` from the programs' --help: component, flag, kind of value, minors of 1.",
        *(row for key in sorted(found) for row in _flag_rows(key, found[key])),
    ]
    return "".join(f"{line}\n" for line in lines)


def _flag_rows(key: tuple[str, ...], kinds: dict[int, str]) -> Iterator[str]:
    minors = sorted(kinds)
    while minors:
        first = last = minors.pop(0)
        while minors and minors[0] == last + 1 and kinds[minors[0]] == kinds[first]:
            last = minors.pop(0)
        yield "\t".join((*key, kinds[first], str(first) if first == last else f"{first}-{last}"))


def gates_table(versions: Iterable[Built], present: str = "") -> str:
    """Return the table of feature gates, with the columns of `present` for the minors that were not built."""
    found: dict[str, dict[int, str]] = {}
    renewed = set()
    for built in versions:
        renewed.add(built.minor)
        for name, cell in gates(built):
            found.setdefault(name, {})[built.minor] = cell
    for line in present.splitlines():
        if line and not line.startswith("#"):
            name, *cells = line.split("\t")
            for minor, cell in zip(MINORS, cells):
                if minor not in renewed and cell != "-":
                    found.setdefault(name, {})[minor] = cell
    lines = [
        "# Generated by `make tables` from versioned_feature_list.yaml and kube_features.go of Kubernetes: gate,",
        "# stage and default in 1.34, 1.35, 1.36 and 1.37. ! is locked, (A) needs the gate A, - does not exist.",
        *("\t".join((name, *(found[name].get(minor, "-") for minor in MINORS))) for name in sorted(found)),
    ]
    return "".join(f"{line}\n" for line in lines)


def api_versions(built: Built) -> Iterator[str]:
    """Yield each group and version that the API server of one version registers, such as `batch/v1`."""
    cache = Path(_output(Path("go"), "env", "GOMODCACHE").strip()) / "k8s.io"
    for source in _APIS:
        for install in sorted((cache / source.format(version=built.version)).glob("*/install/install.go")):
            register = (install.parents[1] / "register.go").read_text(encoding="utf-8")
            group = re.search(r'GroupName\s*= "(.*)"', register)
            text = install.read_text(encoding="utf-8")
            for version in re.findall(r"(v\d+(?:(?:alpha|beta)\d+)?)\.AddToScheme", text):
                if group:
                    yield f"{group[1]}/{version}"


_APIS = (
    "kubernetes@v1.{version}/pkg/apis",
    "apiextensions-apiserver@v0.{version}/pkg/apis",
    "kube-aggregator@v0.{version}/pkg/apis",
)


def api_versions_table(versions: Iterable[Built], present: str = "") -> str:
    """Return the table of API versions, with the rows of `present` for the minors that were not built."""
    found: dict[str, dict[int, str]] = {}
    renewed = set()
    for built in versions:
        renewed.add(built.minor)
        for name in api_versions(built):
            found.setdefault(name, {})[built.minor] = ""
    for line in present.splitlines():
        if line and not line.startswith("#"):
            name, minors = line.split("\t")
            first, _, last = minors.partition("-")
            for minor in range(int(first), int(last or first) + 1):
                if minor not in renewed:
                    found.setdefault(name, {})[minor] = ""
    lines = [
        "# Generated by `make tables` from pkg/apis of Kubernetes: group and version of an API, minors of 1.",
        *(row.replace("\t\t", "\t") for name in sorted(found) for row in _flag_rows((name,), found[name])),
    ]
    return "".join(f"{line}\n" for line in lines)


_FIELD_TYPES = {
    "bool": "bool",
    "float64": "float",
    "int32": "int32",
    "int64": "int64",
    "map[string]bool": "map[string]bool",
    "map[string]string": "map[string]string",
    "metav1.Duration": "duration",
    "string": "string",
    "[]string": "[string]",
    "[]int32": "[int32]",
}
"""Types of the fields of KubeletConfiguration by their Go types; any other type is `any`, or a structure."""


def kubelet_fields(built: Built) -> Iterator[tuple[str, str, str]]:
    """Yield each field of KubeletConfiguration with its type, and the equivalent flag or `-`."""
    cache = Path(_output(Path("go"), "env", "GOMODCACHE").strip()) / "k8s.io"
    types = (cache / f"kubelet@v0.{built.version}/config/v1beta1/types.go").read_text(encoding="utf-8")
    structures = dict(re.findall(r"^type (\w+) struct \{\n(.*?)^\}", types, re.MULTILINE | re.DOTALL))
    options = (cache / f"kubernetes@v1.{built.version}/cmd/kubelet/app/options/options.go").read_text(encoding="utf-8")
    found = re.findall(r'&c\.([\w.]+?)(?:\.Duration)?[})]*, "([a-z][\w-]*)"', options)
    found += re.findall(r'\(&c\.([\w.]+?)\), "([a-z][\w-]*)"', options)
    yield from _structure("KubeletConfiguration", "", "", structures, dict(found))


def _structure(
    name: str, path: str, go_path: str, structures: dict[str, str], flags_by_field: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    for field, go_type, key in re.findall(r'^\t(\w+)\s+(\S+)\s+`json:"(\w+)', structures[name], re.MULTILINE):
        plain = go_type.removeprefix("*")
        if plain in structures:
            yield from _structure(plain, f"{path}{key}.", f"{go_path}{field}.", structures, flags_by_field)
        else:
            flag = flags_by_field.get(go_path + field, "-")
            yield path + key, _FIELD_TYPES.get(plain, "any" if "." in plain or "[" in plain else "string"), flag


def kubelet_fields_table(versions: Iterable[Built], present: str = "") -> str:
    """Return the table of kubelet fields, with the rows of `present` for the minors that were not built."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    renewed = set()
    for built in versions:
        renewed.add(built.minor)
        for name, kind, flag in kubelet_fields(built):
            found.setdefault((name, kind), {})[built.minor] = flag
    for line in present.splitlines():
        if line and not line.startswith("#"):
            name, kind, flag, minors = line.split("\t")
            first, _, last = minors.partition("-")
            for minor in range(int(first), int(last or first) + 1):
                if minor not in renewed:
                    found.setdefault((name, kind), {})[minor] = flag
    lines = [
        "# Generated by `make tables` from KubeletConfiguration (v1beta1): field, type, flag, minors of 1.",
        *(row for key in sorted(found) for row in _flag_rows(key, found[key])),
    ]
    return "".join(f"{line}\n" for line in lines)


def tables(directory: Path) -> dict[str, str]:
    """Return the text of each table by its name."""
    versions = built_in(directory)
    present = {name: (TABLES / name).read_text(encoding="utf-8") if (TABLES / name).exists() else "" for name in _MADE}
    return {name: made(versions, present[name]) for name, made in _MADE.items()}


_MADE = {
    API_VERSIONS: api_versions_table,
    FEATURE_GATES: gates_table,
    FLAGS: flags_table,
    KUBELET_FIELDS: kubelet_fields_table,
}


def main() -> None:
    """Write the tables that changed."""
    for name, text in tables(Path(sys.argv[1])).items():
        path = TABLES / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(TABLES.parents[2]))  # noqa: T201 - the result of the program


if __name__ == "__main__":
    main()
