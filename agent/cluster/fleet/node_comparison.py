"""Comparison of each node with most nodes of its role."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Group = tuple[str, ...]
    """What compared nodes have in common: their role, or also their K3s version."""
    Values = Mapping[Group, Mapping[str, str]]
    """Values of a node by group and subject, which is an option, or the path of a file."""

DIGESTS = ("waivers", "stages")
"""Subjects whose values are digests, which tell a reader nothing."""

_MOST_DIFFERENCES = 10
_LONGEST = 80


def differences(nodes: Sequence[Values]) -> list[tuple[str, ...]]:
    """Return the first differences of each node as sentences. The time is linear in the number of values."""
    sizes = Counter(group for node in nodes for group in node)
    counts: dict[tuple[Group, str], Counter[str]] = {}
    for node in nodes:
        for group, values in node.items():
            for subject, value in values.items():
                counts.setdefault((group, subject), Counter())[value] += 1
    # A subject that few nodes have is compared only on these: otherwise each node could add work for all others.
    usual: dict[Group, dict[str, str | None]] = {}
    for (group, subject), counted in counts.items():
        value, count = counted.most_common(1)[0]
        if sum(counted.values()) * 2 >= sizes[group]:
            usual.setdefault(group, {})[subject] = value if count * 2 > sizes[group] else None
    return [tuple(islice(_of_node(node, usual), _MOST_DIFFERENCES)) for node in nodes]


def _of_node(node: Values, usual: Mapping[Group, Mapping[str, str | None]]) -> Iterator[str]:
    for group, values in node.items():
        common = usual.get(group, {})
        for subject in dict.fromkeys((*common, *values)):
            value, expected = values.get(subject, ""), common.get(subject, "")
            if value != expected and subject in DIGESTS:
                yield f"{subject} differ"
            elif value != expected and subject.startswith("/"):
                yield f"{subject[:_LONGEST]} {'has other content' if value else 'is missing'}"
            elif value != expected:
                most = "no value is usual" if expected is None else f"most have {expected[:_LONGEST] or 'none'}"
                yield f"{subject[:_LONGEST]} is {value[:_LONGEST] or 'not set'}, {most}"
