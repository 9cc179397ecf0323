"""Meaning of a NetworkPolicy for incoming traffic. Pure.

(kubernetes, staging/src/k8s.io/api/networking/v1/types.go)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.yaml_reader import Scalar, YamlMapping, YamlSequence, items, part

if TYPE_CHECKING:
    from agent.base.yaml_reader import Node

_ANY_ADDRESS = frozenset({"0.0.0.0/0", "::/0"})


def restricts_all_pods(policy: Node) -> bool:
    """Return whether the policy selects every pod of its namespace and restricts incoming traffic."""
    types = [item.value for item in items(part(policy, "spec", "policyTypes")) if isinstance(item, Scalar)]
    return _selects_all(part(policy, "spec", "podSelector")) and (not types or "Ingress" in types)


def allows_all(policy: Node) -> bool:
    """Return whether a rule of the policy allows incoming traffic from every pod or address to every port."""
    return any(_allows_all(rule) for rule in items(part(policy, "spec", "ingress")))


def _allows_all(rule: Node) -> bool:
    peers = items(part(rule, "from"))
    return not items(part(rule, "ports")) and (not peers or any(map(_is_everyone, peers)))


def _is_everyone(peer: Node) -> bool:
    block = part(peer, "ipBlock")
    if isinstance(block, YamlMapping):
        return block.text("cidr") in _ANY_ADDRESS and not items(block.get("except"))
    # Without a namespaceSelector, the podSelector selects pods of the policy's own namespace.
    namespaces = part(peer, "namespaceSelector")
    return isinstance(namespaces, YamlMapping) and _selects_all(namespaces) and _selects_all(part(peer, "podSelector"))


def _selects_all(selector: Node | None) -> bool:
    return not any(
        isinstance(terms, (YamlMapping, YamlSequence))
        and (terms.entries if isinstance(terms, YamlMapping) else terms.items)
        for terms in (part(selector, "matchLabels"), part(selector, "matchExpressions"))
    )
