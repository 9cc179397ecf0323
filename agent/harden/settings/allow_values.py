"""YAML form of the rules in `network-policies.allow`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from agent.base.yaml_reader import Node, Scalar, YamlMapping, YamlSequence, describe_node, duplicates, shown
from agent.harden.settings.value_kinds import InvalidValue, ValueKind, is_empty, string_of, unique_fields
from agent.k3s.allow_rule import AllowedPods, AllowedPort, AllowRule, Labels, labels
from agent.k3s.go_values import is_label, is_label_value, is_qualified_name

_ANYWHERE = "anywhere"
_PORT = r"([1-9]\d{0,4})(?:/(TCP|UDP|SCTP))?"
_LARGEST_PORT = 65535


def _rules(node: Node) -> tuple[AllowRule, ...]:
    if is_empty(node):
        return ()
    if not isinstance(node, YamlSequence):
        raise InvalidValue
    # Sorted, so that servers with the same rules in another order write the same policy.yaml.
    return tuple(sorted({_rule(item): None for item in node.items}, key=str))


def _rule(node: Node) -> AllowRule:
    entries = _entries(node, ("namespace", "pods", "ports", "from"), required=("namespace", "from"))
    return AllowRule(
        _namespace(entries["namespace"]),
        _labels(entries["pods"]) if "pods" in entries else (),
        _ports(entries["ports"]) if "ports" in entries else (),
        _sources(entries["from"]),
    )


def _entries(node: Node, known: Collection[str], required: Collection[str]) -> Mapping[str, Node]:
    """Return the values of a mapping by key. Raises InvalidValue for an unknown, missing or repeated key."""
    if not isinstance(node, YamlMapping):
        raise InvalidValue(f"expected a mapping of {', '.join(known)}; found {describe_node(node)}", node)
    entries = unique_fields(node, known)
    for key in required:
        if key not in entries:
            raise InvalidValue(f"`{key}` is missing", node)
    return entries


def _namespace(node: Node) -> str:
    return _matching(node, is_label, "`namespace` must be a lower-case RFC 1123 label")


def _labels(node: Node) -> Labels:
    if not isinstance(node, YamlMapping):
        raise InvalidValue(f"`pods` must be a mapping of labels; found {describe_node(node)}", node)
    for _, again in duplicates(node):
        raise InvalidValue(f"the label {shown(again.key)} is set twice", again.node)
    for entry in node.entries:
        if not is_qualified_name(entry.key):
            raise InvalidValue(f"`pods` has an invalid label: {shown(entry.key)}", entry.node)
    problem = "the value of the label {} must be a string"
    found = {entry.key: _matching(entry.node, is_label_value, problem.format(entry.key)) for entry in node.entries}
    return labels(found)


def _ports(node: Node) -> tuple[AllowedPort, ...]:
    if not isinstance(node, YamlSequence):
        raise InvalidValue(f"`ports` must be a list; found {describe_node(node)}", node)
    found = set()
    for item in node.items:
        match = re.fullmatch(_PORT, item.text, re.ASCII) if isinstance(item, Scalar) else None
        if match is None or int(match[1]) > _LARGEST_PORT:
            raise InvalidValue(f"each port must be a number such as 8080 or 53/UDP; found {describe_node(item)}", item)
        found.add(AllowedPort(int(match[1]), match[2] or "TCP"))
    return tuple(sorted(found))


def _sources(node: Node) -> tuple[AllowedPods | str, ...]:
    if isinstance(node, Scalar) and node.text == _ANYWHERE:
        return ()
    if isinstance(node, YamlSequence) and node.items:
        return tuple(dict.fromkeys(source for item in node.items for source in _source(item)))
    return _source(node)


def _source(node: Node) -> tuple[AllowedPods | str, ...]:
    problem = f"`from` must be {_ANYWHERE}, a mapping of `namespace` and `pods` or of `addresses`, or a list of these"
    if not isinstance(node, YamlMapping):
        raise InvalidValue(f"{problem}; found {describe_node(node)}", node)
    if node.get("addresses") is not None:
        return _addresses(_entries(node, ("addresses",), ("addresses",))["addresses"])
    entries = _entries(node, ("namespace", "pods"), required=("namespace",))
    return (AllowedPods(_namespace(entries["namespace"]), _labels(entries["pods"]) if "pods" in entries else ()),)


def _addresses(node: Node) -> tuple[str, ...]:
    if not isinstance(node, YamlSequence) or not node.items:
        raise InvalidValue(f"`addresses` must be a list of CIDR ranges; found {describe_node(node)}", node)
    from ipaddress import ip_network  # few settings have a range

    found = []
    for item in node.items:
        try:
            found.append(str(ip_network(string_of(item))))
        except ValueError:
            raise InvalidValue(
                f"each address must be a range such as 10.0.0.0/8; found {describe_node(item)}", item
            ) from None
    return tuple(dict.fromkeys(found))


def _matching(node: Node, is_valid: Callable[[str], bool], problem: str) -> str:
    if isinstance(node, Scalar) and isinstance(node.value, str) and is_valid(node.value):
        return node.value
    raise InvalidValue(f"{problem}; found {describe_node(node)}", node)


ALLOW_RULES = ValueKind("a list of mappings, each with `namespace`, `from` and optionally `pods` and `ports`", _rules)
