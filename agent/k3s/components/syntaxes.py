"""The table of the syntaxes of values that components require, syntaxes.tsv, and those that are no pattern. Pure."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.k3s.components import values
from agent.k3s.components.names import is_label, is_label_value, is_qualified_name, is_subdomain
from agent.k3s.components.tables import text_of
from agent.k3s.go_values import accepted, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
