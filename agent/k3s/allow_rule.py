"""Incoming traffic that a further NetworkPolicy admits, as the settings and the API have it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from agent.base.value import Value, replace

Labels = tuple[tuple[str, str], ...]

_PLAIN = r"[A-Za-z][A-Za-z0-9./_-]*"
_NOT_STRINGS = frozenset("false n no null off on true y yes".split())  # noqa: SIM905 - as YAML 1.1 has them


class AllowedPort(NamedTuple):
    """A port of the pods."""

    number: int
    protocol: str = "TCP"

    def __str__(self) -> str:
        return str(self.number) if self.protocol == "TCP" else f"{self.number}/{self.protocol}"


class AllowedPods(Value):
    """Pods that may connect: those of a namespace that have these labels."""

    namespace: str
    pods: Labels = ()


class AllowRule(Value):
    """Who may connect to which ports of which pods."""

    namespace: str
    pods: Labels
    """Labels of the pods; none selects all pods of the namespace."""
    ports: tuple[AllowedPort, ...]
    """None admits all ports."""
    sources: tuple[AllowedPods | str, ...] = ()
    """Pods, and ranges of addresses; none admits connections from anywhere."""

    def __str__(self) -> str:
        return self.setting

    @property
    def setting(self) -> str:
        """An item of `network-policies.allow` in the settings, in YAML."""
        parts = [f"namespace: {_word(self.namespace)}"]
        parts += [f"pods: {_mapping(self.pods)}"] * bool(self.pods)
        ports = ", ".join(str(port) for port in self.ports)
        parts += [f"ports: [{ports}]"] * bool(ports)
        return f"{{{', '.join(parts)}, from: {self._setting_of_source()}}}"

    def _setting_of_source(self) -> str:
        parts = [_setting_of_pods(source) for source in self.sources if isinstance(source, AllowedPods)]
        ranges = [_word(source) for source in self.sources if isinstance(source, str)]
        parts += [f"{{addresses: [{', '.join(ranges)}]}}"] * bool(ranges)
        return "anywhere" if not parts else parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"

    @property
    def policy(self) -> dict[str, Any]:
        """The NetworkPolicy. Its name has a digest of the rule."""
        from hashlib import sha256

        rule: dict[str, Any] = {}
        if self.ports:
            rule["ports"] = [{"port": port.number, "protocol": port.protocol} for port in self.ports]
        if self.sources:
            rule["from"] = list(map(_peer, self.sources))
        name = f"allow-{sha256(self.setting.encode()).hexdigest()[:10]}"
        selector = {"matchLabels": dict(self.pods)} if self.pods else {}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [rule]},
        }


def merged_rules(rules: Iterable[AllowRule]) -> tuple[AllowRule, ...]:
    """Return one rule for each ports of the same pods, which admits whom all of these rules admit."""
    found: dict[tuple[object, ...], list[AllowRule]] = {}
    for rule in rules:
        found.setdefault((rule.namespace, rule.pods, rule.ports), []).append(rule)
    return tuple(
        replace(
            equal[0],
            sources=tuple(dict.fromkeys(source for rule in equal for source in rule.sources))
            if all(rule.sources for rule in equal)
            else (),
        )
        for equal in found.values()
    )


def _setting_of_pods(source: AllowedPods) -> str:
    pods = f", pods: {_mapping(source.pods)}" if source.pods else ""
    return f"{{namespace: {_word(source.namespace)}{pods}}}"


def _peer(source: AllowedPods | str) -> dict[str, Any]:
    if isinstance(source, str):
        return {"ipBlock": {"cidr": source}}
    pods = {"podSelector": {"matchLabels": dict(source.pods)}} if source.pods else {}
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": source.namespace}}, **pods}


def labels(mapping: Mapping[str, str]) -> Labels:
    """Return labels as a rule has them."""
    return tuple(sorted(mapping.items()))


def _mapping(pairs: Labels) -> str:
    return f"{{{', '.join(f'{_word(key)}: {_word(value)}' for key, value in pairs)}}}"


def _word(text: str) -> str:
    """Return a string in YAML; quoted if YAML would read something else, such as 123 or null."""
    return text if re.fullmatch(_PLAIN, text) and text.lower() not in _NOT_STRINGS else f'"{text}"'
