"""Generator of the tables in agent/k3s/components: `make tables`.

It uses the components that `make k8s-test` has built, of each pinned version. Their sources are in Go's module cache,
where the build put them. A minor that was not built keeps its rows. The program prints the name of each file that it
wrote.

Of a preview, the feature gates are read from the sources alone. `go mod download k8s.io/NAME@VERSION` brings those of
`_SOURCES`.

The flags are those of each program's --help. It omits hidden and deprecated flags, so the sources are searched for
their names. Each name is passed with an invalid value: the error shows whether the flag exists and its kind of value.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import yaml

from agent.k3s.components.files.decoding import CONFIGURATION_FIELDS
from agent.k3s.components.tables import API_VERSIONS, FEATURE_GATES, FIRST_MINOR, FLAGS, LAST_MINOR, minors_in
from agent.k3s.roles_and_versions import NEWEST_PREVIEW, PREVIEWED, Component
from tests.k8s import binaries
from tests.tools.go_structs import Sources

TABLES = Path(__file__).parents[2] / "agent/k3s/components"
MINORS = range(FIRST_MINOR, LAST_MINOR + 1)
MINORS_OF_GATES = range(FIRST_MINOR, NEWEST_PREVIEW.minor + 1)

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
        return int(self.version.partition(".")[0])


def built_versions() -> list[Built]:
    directories = {version: binaries.built(version) for version in binaries.pinned()}
    return [Built(version.removeprefix("1."), path) for version, path in directories.items() if path is not None]


def flags(built: Built) -> Iterator[tuple[str, str, str]]:
    hidden = set(re.findall(r'Mark(?:Deprecated|Hidden)\(\s*"([\w.-]+)"', "\n".join(_sources(built))))
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


def _kind_of_hidden(program: Path, name: str) -> str:
    """Return the kind of value of a flag that --help may not show; empty if the program has no such flag."""
    error = _output(program, f"--{name}=?", "--help")
    if "unknown flag" in error:
        return ""
    return next((kind for words, kind in _KIND_BY_ERROR if words in error), "string")


def _output(program: Path, *arguments: str) -> str:
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return run.stdout + run.stderr


@cache
def _cache() -> Path:
    """Return the modules of Kubernetes in Go's module cache."""
    return Path(_output(Path("go"), "env", "GOMODCACHE").strip()) / "k8s.io"


def _sources(built: Built) -> Iterator[str]:
    for source in _SOURCES:
        for path in sorted((_cache() / source.format(version=built.version)).rglob("*.go")):
            if not path.name.endswith("_test.go"):
                yield path.read_text(encoding="utf-8")


def gates(built: Built) -> Iterator[tuple[str, str]]:
    """Yield name and cell of the table for all feature gates of one version."""
    path = (
        _cache() / f"kubernetes@v1.{built.version}/test/compatibility_lifecycle/reference/versioned_feature_list.yaml"
    )
    sources = "\n".join(_sources(built))
    names = dict(re.findall(r'\b(\w+)\s+(?:featuregate\.|clientfeatures\.)?Feature\s+= "(\w+)"', sources))
    needs = _dependencies(built, names)
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
    path = _cache() / f"client-go@v0.{built.version}/features/known_features.go"
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


def _dependencies(built: Built, names: dict[str, str]) -> dict[str, list[str]]:
    """Return the gates that each gate needs, from the map in pkg/features/kube_features.go."""
    path = _cache() / f"kubernetes@v1.{built.version}/pkg/features/kube_features.go"
    _, _, text = path.read_text(encoding="utf-8").partition("\nvar defaultKubernetesFeatureGateDependencies = ")
    found: dict[str, list[str]] = {}
    for gate, needed in re.findall(r"^\t([\w.]+):\s*\{(.*)\},", text.partition("\n}\n")[0], re.MULTILINE):
        plain = re.sub(r"featuregate\.Feature\(([\w.]+)\)", r"\1", needed)
        others = [names[_last(part)] for part in plain.split(",") if part.strip()]
        if others:
            found[names[_last(gate)]] = others
    return found


def _last(name: str) -> str:
    return name.strip().rpartition(".")[2]


def _table_of_minors(
    title: str,
    rows_of: Callable[[Built], Iterable[tuple[str, ...]]],
    versions: Iterable[Built],
    present: str = "",
    scope: Callable[[tuple[str, ...]], str] = lambda _: "",
) -> str:
    """Return a table of rows with their minors, with the rows of `present` for the minors that were not built.

    `scope` returns the part of the table to which a row belongs, if the parts are generated independently.
    """
    minors: dict[tuple[str, ...], set[int]] = {}
    renewed = set()
    for built in versions:
        for row in rows_of(built):
            renewed.add((scope(row), built.minor))
            minors.setdefault(row, set()).add(built.minor)
    for line in present.splitlines():
        if not line.startswith("#"):
            *cells, last = line.split("\t")
            row = tuple(cells)
            kept = {minor for minor in minors_in(last) if minor in MINORS and (scope(row), minor) not in renewed}
            if kept:
                minors.setdefault(row, set()).update(kept)
    lines = [f"# Generated by `make tables` from {title}, minors of 1."]
    lines += ("\t".join((*row, part)) for row in sorted(minors) for part in _ranges(minors[row]))
    return "".join(f"{line}\n" for line in lines)


def _ranges(minors: set[int]) -> Iterator[str]:
    for first in sorted(minor for minor in minors if minor - 1 not in minors):
        last = next(minor for minor in range(first, MINORS.stop) if minor + 1 not in minors)
        yield str(first) if first == last else f"{first}-{last}"


def gates_table(versions: Iterable[Built], present: str) -> str:
    """Return the table of feature gates, with the columns of `present` for the minors that were not built."""
    found: dict[str, dict[int, str]] = {}
    renewed = set()
    for built in (*versions, *_preview()):
        renewed.add(built.minor)
        for name, cell in gates(built):
            found.setdefault(name, {})[built.minor] = cell
    for line in present.splitlines():
        if line and not line.startswith("#"):
            name, *cells = line.split("\t")
            for minor, cell in zip(MINORS_OF_GATES, cells):
                if minor not in renewed and cell != "-":
                    found.setdefault(name, {})[minor] = cell
    lines = [
        "# Generated by `make tables` from versioned_feature_list.yaml and kube_features.go of Kubernetes: gate,",
        f"# stage and default in {', '.join(f'1.{minor}' for minor in MINORS_OF_GATES)}. ! is locked, (A) needs A,",
        "# - does not exist.",
        *("\t".join((name, *(found[name].get(minor, "-") for minor in MINORS_OF_GATES))) for name in sorted(found)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _preview() -> Iterator[Built]:
    """Yield the preview if Go's module cache has its sources."""
    version = PREVIEWED.removeprefix("v1.")
    if all((_cache() / source.format(version=version)).exists() for source in _SOURCES):
        yield Built(version, _cache())


def api_versions(built: Built) -> Iterator[tuple[str]]:
    """Yield each group and version that the API server of one version registers, such as `batch/v1`."""
    for source in _APIS:
        for install in sorted((_cache() / source.format(version=built.version)).glob("*/install/install.go")):
            register = (install.parents[1] / "register.go").read_text(encoding="utf-8")
            group = re.search(r'GroupName\s*= "(.*)"', register)
            text = install.read_text(encoding="utf-8")
            for version in re.findall(r"(v\d+(?:(?:alpha|beta)\d+)?)\.AddToScheme", text):
                if group:
                    yield (f"{group[1]}/{version}",)


_APIS = (
    "kubernetes@v1.{version}/pkg/apis",
    "apiextensions-apiserver@v0.{version}/pkg/apis",
    "kube-aggregator@v0.{version}/pkg/apis",
)


_APISERVER = "k8s.io/apiserver/pkg/apis"
_VERSIONS = ("v1", "v1beta1", "v1alpha1")
_POLICIES = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
_FILE_KINDS = (
    ("AdmissionConfiguration", f"{_APISERVER}/apiserver/v1", "apiserver.config.k8s.io/v1"),
    ("AdmissionConfiguration", f"{_APISERVER}/apiserver/v1alpha1", "apiserver.k8s.io/v1alpha1"),
    *(
        (kind, f"{_APISERVER}/apiserver/{version}", f"apiserver.config.k8s.io/{version}")
        for kind in ("AuthenticationConfiguration", "AuthorizationConfiguration")
        for version in _VERSIONS
    ),
    *(
        ("CredentialProviderConfig", f"k8s.io/kubelet/config/{version}", f"kubelet.config.k8s.io/{version}")
        for version in _VERSIONS
    ),
    ("EncryptionConfiguration", f"{_APISERVER}/apiserver/v1", "apiserver.config.k8s.io/v1"),
    (
        "Configuration",
        "k8s.io/kubernetes/plugin/pkg/admission/eventratelimit/apis/eventratelimit/v1alpha1",
        "eventratelimit.admission.k8s.io/v1alpha1",
    ),
    ("KubeProxyConfiguration", "k8s.io/kube-proxy/config/v1alpha1", "kubeproxy.config.k8s.io/v1alpha1"),
    ("KubeSchedulerConfiguration", "k8s.io/kube-scheduler/config/v1", "kubescheduler.config.k8s.io/v1"),
    ("KubeletConfiguration", "k8s.io/kubelet/config/v1beta1", "kubelet.config.k8s.io/v1beta1"),
    *(
        (
            "PodSecurityConfiguration",
            f"k8s.io/pod-security-admission/admission/api/{version}",
            f"pod-security.admission.config.k8s.io/{version}",
        )
        for version in _VERSIONS
    ),
    ("Policy", f"{_APISERVER}/audit/v1", "audit.k8s.io/v1"),
    *(
        (
            f"{plugin}Configuration",
            "k8s.io/apiserver/pkg/admission/plugin/policy/config/apis/policyconfig/v1",
            "apiserver.config.k8s.io/v1",
        )
        for plugin in _POLICIES
    ),
    *(
        (f"{plugin}{suffix}", "k8s.io/api/admissionregistration/v1", "admissionregistration.k8s.io/v1")
        for plugin in _POLICIES
        for suffix in ("", "Binding")
    ),
)
"""Kinds of configuration files with the Go package and the apiVersion of each of their versions."""

_FLAGS_OF_FIELDS = {
    "KubeletConfiguration": (
        "k8s.io/kubernetes/cmd/kubelet/app/options",
        re.compile(r'\(?&(?:c|f(?=\.SeccompDefault))\.([\w.]+?)(?:\.Duration)?[})]*, "([a-z][\w-]*)"'),
    ),
    "KubeProxyConfiguration": (
        "k8s.io/kubernetes/cmd/kube-proxy/app",
        re.compile(r'\bo\.(?:config\.)?(?:Linux\.)?(\w[\w.]+?)(?:\.Duration)?[})]*,\s+"([a-z][\w-]*)"'),
    ),
}
"""The package that declares the flags of a component, and a pattern of a field with its flag, by kind."""

_FLAGS_OF_COMPONENT_BASE = {"loggingformat": "logging-format"}
"""Flags that component-base declares for all components, by field."""


def configuration_fields(built: Built) -> Iterator[tuple[str, ...]]:
    """Yield kind, field, type, flag of the same component and versions of each field of configuration files."""
    sources = Sources(_cache().parent, built.version)
    packages: dict[str, list[tuple[str, str]]] = {}
    for kind, name, api in _FILE_KINDS:
        if kind in sources.package(name).structs:
            packages.setdefault(kind, []).append((name, api))
    for kind, found in packages.items():
        names = [api for _, api in found if api]
        if names:
            yield kind, "apiVersion", f"string({'|'.join(names)})", "-", "-"
            yield kind, "kind", f"string({kind})", "-", "-"
        flags_of_fields = _flags_of_fields(kind, sources)
        fields: dict[tuple[str, ...], list[str]] = {}
        for package, api in found:
            for field in sources.fields(package, kind):
                flag = flags_of_fields.get(_plain(field.go_path), "-")
                fields.setdefault((kind, field.path, field.kind, flag), []).append(api.rpartition("/")[2])
        for row, having in fields.items():
            yield (*row, "-" if len(having) == len(found) else ",".join(having))


def _flags_of_fields(kind: str, sources: Sources) -> dict[str, str]:
    """Return the flags of a component by the fields of its file."""
    if kind not in _FLAGS_OF_FIELDS:
        return {}
    package, pattern = _FLAGS_OF_FIELDS[kind]
    own = {_plain(path): flag for path, flag in pattern.findall(sources.package(package).text)}
    return {**own, **_FLAGS_OF_COMPONENT_BASE}


def _plain(go_path: str) -> str:
    """Return a path in Go for comparison: variables of flags have names such as iptablesSyncPeriod."""
    return go_path.replace(".", "").lower().rstrip("s")


def tables() -> dict[str, str]:
    versions = built_versions()
    present = {name: (TABLES / name).read_text(encoding="utf-8") if (TABLES / name).exists() else "" for name in MADE}
    return {name: made(versions, present[name]) for name, made in MADE.items()}


MADE: Mapping[str, Callable[[Iterable[Built], str], str]] = {
    API_VERSIONS: partial(_table_of_minors, "pkg/apis of Kubernetes: group and version of an API", api_versions),
    FEATURE_GATES: gates_table,
    FLAGS: partial(
        _table_of_minors, "the programs' --help: component, flag, kind of value", flags, scope=lambda row: row[0]
    ),
    CONFIGURATION_FIELDS: partial(
        _table_of_minors, "Go structs: kind, field, type, flag, versions (- for all)", configuration_fields
    ),
}


def main() -> None:
    for name, text in tables().items():
        path = TABLES / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(TABLES.parents[2]))  # noqa: T201 - the result of the program


if __name__ == "__main__":
    main()
