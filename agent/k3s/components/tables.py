"""Tables of the arguments and feature gates that each minor version of Kubernetes accepts. Pure.

`make tables` generates them: flags.tsv from the programs' own --help, feature_gates.tsv from the list that Kubernetes
keeps of its gates (test/compatibility_lifecycle/reference/versioned_feature_list.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import NamedTuple

from agent.base import package_data
from agent.base.value import Value
from agent.k3s.components import values
from agent.k3s.components.values import LISTS, MAPPINGS
from agent.k3s.go_values import accepted, duration, is_label, is_label_value, is_qualified_name, is_subdomain, number
from agent.k3s.roles_and_versions import NEWEST_PREVIEW, Component, Version

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


_WORDS = {kind: frozenset(words.split()) for kind, words in package_data.rows("k3s", "components", "words.tsv")}
SUITES, CONTROLLERS, SIGNALS, LABELS = (
    _WORDS[kind] for kind in ("cipher suite", "controller", "eviction signal", "label")
)
"""Words that components accept."""


class Syntax(NamedTuple):
    """A syntax of a value, or of an item of a list or a mapping."""

    expected: str
    accepts: Callable[[str], object]
    valid: str
    """An example, with which tests start the components."""
    invalid: str


def _is_whole_host(text: str) -> bool:
    """Return whether an expression for origins has anchors, as far as the API server requires it, and is valid."""
    pinned = ("^" in text or "//" in text) and ("$" in text or ":" in text)
    return pinned and _can_be_expression(text)


def _can_be_expression(text: str) -> bool:
    """Return whether Go can accept a regular expression; Python reads one without escapes and flags alike."""
    if re.search(r"\\[A-Za-z0-9]|\(\?[^:]|\[:", text):
        return True
    try:
        re.compile(re.sub(r"(?<!\[)\^|\$", "a", text))  # Python rejects a repeated anchor
    except (re.error, OverflowError):
        return False
    return True


def _has_cidrs(text: str, longest_suffix: int = 0) -> bool:
    """Return whether a text has one CIDR of each IP version at most, each with at least this many bits for hosts."""
    found = [values.cidr(item.strip()) for item in text.split(",")]
    known = [size for size in found if size and size[0] - size[1] >= longest_suffix]
    return len(known) == len(found) == len({bits for bits, _ in known})


def _is_node_label(text: str) -> bool:
    """Return whether a kubelet may set a label (cmd/kubelet/app/options/options.go)."""
    key, _, value = text.partition("=")
    namespace = key.rpartition("/")[0]
    is_reserved = re.fullmatch(r"(.*\.)?(kubernetes|k8s)\.io", namespace) is not None
    is_own = re.fullmatch(r"(.*\.)?(kubelet|node)\.kubernetes\.io", namespace) is not None
    is_allowed = not is_reserved or is_own or key in LABELS
    return is_allowed and is_qualified_name(key) and is_label_value(value)


def _is_threshold(text: str, *, is_reclaim: bool = False) -> bool:
    """Return whether a text is a threshold of eviction: signal<amount, or what is reclaimed: signal=amount.

    Source: pkg/kubelet/eviction/helpers.go.
    """
    signal, _, amount = text.partition("=" if is_reclaim else "<")
    if signal not in SIGNALS:
        return False
    if amount.endswith("%"):
        share = accepted(number, amount.rstrip("%"))
        return share is not None and (share > 0 if is_reclaim else 0 <= share <= 100)  # noqa: PLR2004 - percent
    is_zero = re.fullmatch("[+]?0*[.]?0*[A-Za-z]*", amount, re.ASCII) is not None
    return values.is_quantity(amount) and not amount.startswith("-") and (is_reclaim or not is_zero)


def _is_grace_period(text: str) -> bool:
    signal, _, period = text.partition("=")
    seconds = accepted(duration, period)
    return signal in SIGNALS and seconds is not None and seconds >= 0


def _is_reservation(text: str) -> bool:
    resource, _, size = text.partition("=")
    is_known = resource in ("cpu", "memory", "ephemeral-storage", "pid")
    return is_known and values.is_quantity(size) and not size.startswith("-")


def _is_unsafe_sysctl(text: str) -> bool:
    """Return whether a pattern is one of namespaced parameters (component-helpers/node/util/sysctl/namespace.go)."""
    name = text.replace("/", ".").partition("*")[0]
    words = r"(?:[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?[./])*(?:[a-z0-9][-_a-z0-9]*)?[a-z0-9*]"
    of_kernel = r"kernel\.(?:domainname|sem|shm(?:all|max|mni|_rmid_forced)?|msg(?:max|mnb|mni)?)"
    is_namespaced = name.startswith(("net.", "fs.mqueue.", "user.")) or re.fullmatch(of_kernel, name)
    return bool(is_namespaced) and re.fullmatch(words, text, re.ASCII) is not None


_FUNCTIONS: Mapping[str, Callable[[str], bool]] = {
    "cidr": lambda text: values.cidr(text) is not None,
    "cidrs": _has_cidrs,
    "cipher suite": SUITES.__contains__,
    "controller": lambda text: text == "*" or text.removeprefix("-") in CONTROLLERS,
    "eviction grace period": _is_grace_period,
    "eviction reclaim": partial(_is_threshold, is_reclaim=True),
    "eviction threshold": _is_threshold,
    "https issuer": lambda text: (
        text.lower().startswith("https://") and values.is_url(text) and not set(text) & set("?#@")
    ),
    "label name": is_qualified_name,
    "namespace": is_label,
    "object name": is_subdomain,
    "id count": lambda text: int(text) > 0 and int(text) % 65536 == 0,
    "node label": _is_node_label,
    "node port address": lambda text: text in ("primary", "localhost", "all") or values.cidr(text) is not None,
    "node port address 34": lambda text: text == "primary" or values.cidr(text) is not None,
    "origin": _is_whole_host,
    "reservation": _is_reservation,
    "service cidrs": partial(_has_cidrs, longest_suffix=3),
    "service issuer": lambda text: ":" not in text or values.is_url(text),
    "unsafe sysctl": _is_unsafe_sysctl,
}


def syntax(name: str) -> Syntax:
    """Return a syntax by its name in the table."""
    _, _, rest = text_of("syntaxes.tsv").partition(f"\n{name}\t")
    expected, valid, invalid, pattern = rest.partition("\n")[0].split("\t")
    accepts = re.compile(pattern, re.ASCII | re.DOTALL).fullmatch if pattern else _FUNCTIONS[name]
    return Syntax(expected, accepts, valid, invalid)
