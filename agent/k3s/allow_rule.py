"""Incoming traffic that a further NetworkPolicy admits, as the settings and the API have it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    source: AllowedPods | tuple[str, ...] = ()
    """Pods, or ranges of addresses; no range admits connections from anywhere."""

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
        if isinstance(self.source, AllowedPods):
            pods = f", pods: {_mapping(self.source.pods)}" if self.source.pods else ""
            return f"{{namespace: {_word(self.source.namespace)}{pods}}}"
        return f"{{addresses: [{', '.join(map(_word, self.source))}]}}" if self.source else "anywhere"

    @property
    def policy(self) -> dict[str, Any]:
        """The NetworkPolicy. Its name has a digest of the rule."""
        from hashlib import sha256

        rule: dict[str, Any] = {}
        if self.ports:
            rule["ports"] = [{"port": port.number, "protocol": port.protocol} for port in self.ports]
        if isinstance(self.source, AllowedPods):
            namespace = {"matchLabels": {"kubernetes.io/metadata.name": self.source.namespace}}
            pods = {"podSelector": {"matchLabels": dict(self.source.pods)}} if self.source.pods else {}
            rule["from"] = [{"namespaceSelector": namespace, **pods}]
        elif self.source:
            rule["from"] = [{"ipBlock": {"cidr": block}} for block in self.source]
        name = f"allow-{sha256(self.setting.encode()).hexdigest()[:10]}"
        selector = {"matchLabels": dict(self.pods)} if self.pods else {}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [rule]},
        }


def labels(mapping: Mapping[str, str]) -> Labels:
    """Return labels as a rule has them."""
    return tuple(sorted(mapping.items()))


def _mapping(pairs: Labels) -> str:
    return f"{{{', '.join(f'{_word(key)}: {_word(value)}' for key, value in pairs)}}}"


def _word(text: str) -> str:
    """Return a string in YAML; quoted if YAML would read something else, such as 123 or null."""
    return text if re.fullmatch(_PLAIN, text) and text.lower() not in _NOT_STRINGS else f'"{text}"'
