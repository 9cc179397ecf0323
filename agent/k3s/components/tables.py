"""Tables of the arguments and feature gates that each minor version of Kubernetes accepts. Pure.

`make tables` generates them: flags.tsv from the programs' own --help, feature_gates.tsv from the list that Kubernetes
keeps of its gates (test/compatibility_lifecycle/reference/versioned_feature_list.yaml).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from agent.base import package_data
from agent.base.value import Value
from agent.k3s.components.values import LISTS, MAPPINGS
from agent.k3s.roles_and_versions import NEWEST_PREVIEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.k3s.roles_and_versions import Component, Version

FIRST_MINOR = 34
LAST_MINOR = 37
"""The minors that the tables describe. Of a preview they have the feature gates; the rest is that of the last minor."""

FLAGS = "flags.tsv"
FEATURE_GATES = "feature_gates.tsv"
API_VERSIONS = "api_versions.tsv"

OF_KLOG = (
    *("add-dir-header", "alsologtostderr", "log-backtrace-at", "log-dir", "log-file", "log-file-max-size"),
    *("logtostderr", "one-output", "skip-headers", "skip-log-headers", "stderrthreshold"),
)
"""Global flags of klog. K3s registers them (klog.InitFlags in k3s, pkg/executor/embed/embed.go)."""

_ADDED_BY_K3S = {
    "kube-apiserver": {"advertise-port": "int"},
    "kube-proxy": dict.fromkeys(("boot-id-file", "machine-id-file", *OF_KLOG), "string"),
}
"""Flags that K3s' components have and those of Kubernetes do not.

K3s passes advertise-port itself, a flag of its patched API server (k3s, pkg/daemons/control/server.go). kube-proxy
takes over the global flags of the process (cmd/kube-proxy/app/server.go), and K3s' process contains cAdvisor and klog.
"""


class FeatureGate(Value):
    """A feature gate in one minor version."""

    stage: str
    """alpha, beta, ga or deprecated."""
    default: bool
    is_locked: bool
    """Whether the gate can only be set to its default."""
    needs: tuple[str, ...]
    """Gates that must be on if this one is."""


def describe(minor: int) -> bool:
    """Return whether the tables describe a minor version."""
    return FIRST_MINOR <= minor <= LAST_MINOR


def describe_or_preview(version: Version) -> bool:
    """Return whether the tables describe a version, or what is known of it before its first release."""
    return describe(version.minor) or version.is_preview


def has_flags(component: Component, minor: int) -> bool:
    """Return whether the arguments of a component in a minor were generated."""
    return minor in minors_of(component, "feature-gates")  # every component has it in every minor


def kind_of(component: Component, name: str, minor: int) -> str | None:
    """Return the kind of value of an argument; None if the component does not have the argument in this minor.

    As the components do, this reads `_` in a name as `-`.
    """
    name = name.replace("_", "-")
    added = _ADDED_BY_K3S.get(component.value, {}).get(name)
    if added is not None:
        return added
    for kind, minors in _rows(f"\n{component.value}\t{name}\t"):
        if minor in minors_in(minors):
            return kind
    return None


def is_combined(component: Component, name: str) -> bool:
    """Return whether a component combines the values of a repeated argument. Of any other the last value counts."""
    kind = kind_of(component, name, LAST_MINOR)  # the kinds are equal in all minors
    return kind in LISTS or kind in MAPPINGS


def minors_of(component: Component, name: str) -> tuple[int, ...]:
    """Return the minors in which a component has an argument."""
    rows = _rows(f"\n{component.value}\t{name.replace('_', '-')}\t")
    return tuple(minor for _, minors in rows for minor in minors_in(minors))


def names_of(component: Component, minor: int) -> Iterator[str]:
    """Yield the names of all arguments of a component."""
    for line in text_of(FLAGS).splitlines():
        row = line.split("\t")
        if row[0] == component.value and minor in minors_in(row[3]):
            yield row[1]


def names_of_gates() -> list[str]:
    """Return the names of the feature gates of all minors, sorted."""
    return [line.partition("\t")[0] for line in text_of(FEATURE_GATES).splitlines() if not line.startswith("#")]


def gates_with_needs(minor: int) -> Iterator[tuple[str, FeatureGate]]:
    """Yield the feature gates of a minor that need other gates, with their names."""
    for line in text_of(FEATURE_GATES).splitlines():
        if "(" in line and not line.startswith("#"):
            row = line.split("\t")
            gate = _gate(row[minor - FIRST_MINOR + 1])
            if gate.needs:
                yield row[0], gate


def has_api(group: str, version: str, minor: int) -> bool:
    """Return whether the API server of a minor registers a version of an API group. Empty: any version."""
    wanted = f"{group}/{version}"
    return any(
        (name == wanted if version else name.startswith(wanted)) and minor in minors_in(minors)
        for name, minors in package_data.rows("k3s", "components", API_VERSIONS)
    )


def feature_gate(name: str, minor: int) -> FeatureGate | None:
    """Return a feature gate of a minor; None if the minor does not have it."""
    cell = dict(_cells(name)).get(minor)
    return _gate(cell) if cell else None


def minors_of_gate(name: str) -> tuple[int, ...]:
    """Return the minors that have a feature gate."""
    return tuple(minor for minor, _ in _cells(name))


def _cells(name: str) -> Iterator[tuple[int, str]]:
    """Yield the minors that have a feature gate, each with its cell. Parsing all rows would take 1 ms."""
    _, _, rest = text_of(FEATURE_GATES).partition(f"\n{name}\t")
    cells = rest.partition("\n")[0].split("\t")
    return ((minor, cell) for minor, cell in enumerate(cells, FIRST_MINOR) if cell not in ("", "-"))


def _gate(cell: str) -> FeatureGate:
    """Parse a cell such as `beta=true`, `ga=true!` (locked) or `alpha=false(A,B)` (needs the gates A and B)."""
    state, _, needs = cell.rstrip(")").partition("(")
    stage, _, default = state.rstrip("!").partition("=")
    return FeatureGate(stage, default == "true", state.endswith("!"), tuple(filter(None, needs.split(","))))


def _rows(prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the minors of each row that begins with a prefix. Parsing all rows would take 1 ms."""
    text = text_of(FLAGS)
    at = text.find(prefix)
    while at >= 0:
        kind, _, minors = text[at + len(prefix) : text.index("\n", at + 1)].partition("\t")
        yield kind, minors
        at = text.find(prefix, at + 1)


def minors_in(text: str) -> range:
    """Return the minors of a cell such as `34-36`, `37` or, for 36 and all later ones, `36-`; all if it is empty.

    A preview counts as the last minor.
    """
    first, dash, last = text.partition("-")
    stop = int(last or (first if text and not dash else LAST_MINOR))
    return range(int(first or FIRST_MINOR), (NEWEST_PREVIEW.minor if stop == LAST_MINOR else stop) + 1)


@cache
def text_of(name: str) -> str:
    """Return a table of this directory."""
    return package_data.read("k3s", "components", name).decode()
