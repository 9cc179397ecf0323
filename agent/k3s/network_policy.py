"""Meaning of a NetworkPolicy for incoming traffic. Pure.

(kubernetes, staging/src/k8s.io/api/networking/v1/types.go)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.yaml_reader import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from agent.yaml_reader import Node

_ANY_ADDRESS = frozenset({"0.0.0.0/0", "::/0"})


def restricts_all_pods(policy: Node) -> bool:
    """Return whether the policy selects every pod of its namespace and restricts incoming traffic."""
    spec = _part(policy, "spec")
    types = [item.value for item in _items(spec, "policyTypes") if isinstance(item, Scalar)]
    return _selects_all(_part(spec, "podSelector")) and (not types or "Ingress" in types)


def allows_all(policy: Node) -> bool:
    """Return whether a rule of the policy allows incoming traffic from every pod or address to every port."""
    return any(_allows_all(rule) for rule in _items(_part(policy, "spec"), "ingress"))


def _allows_all(rule: Node) -> bool:
    if _items(rule, "ports"):
        return False
    peers = _items(rule, "from")
    return not peers or any(map(_is_everyone, peers))


def _is_everyone(peer: Node) -> bool:
    block = _part(peer, "ipBlock")
    if isinstance(block, Mapping):
        return block.text("cidr") in _ANY_ADDRESS and not _items(block, "except")
    # Without a namespaceSelector, the podSelector selects pods of the policy's own namespace.
    namespaces = _part(peer, "namespaceSelector")
    return isinstance(namespaces, Mapping) and _selects_all(namespaces) and _selects_all(_part(peer, "podSelector"))


def _selects_all(selector: Node | None) -> bool:
    return not any(
        isinstance(part, (Mapping, Sequence)) and (part.entries if isinstance(part, Mapping) else part.items)
        for part in (_part(selector, "matchLabels"), _part(selector, "matchExpressions"))
    )


def _part(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, Mapping) else None


def _items(node: Node | None, key: str) -> tuple[Node, ...]:
    part = _part(node, key)
    return part.items if isinstance(part, Sequence) else ()
