"""K3s' arguments on a node, as K3s writes them into an annotation of the Node object."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from agent.k3s.options import ALIASES
from agent.k3s.redaction import is_secret, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.cluster.kubernetes.objects import Json

_OF_ONE_NODE = frozenset(
    "advertise-address bind-address cluster-init cluster-reset cluster-reset-restore-path config flannel-iface"  # noqa: SIM905
    " node-external-dns node-external-ip node-internal-dns node-ip node-label node-name node-taint server tls-san"
    " with-node-id".split()
)
"""Options that differ between equal nodes."""
_PROXY = "etcd-s3-proxy"
"""The option whose value is public without a password."""


_public = lru_cache(4096)(redacted)
"""The text without secrets: most nodes have the same arguments."""


def parsed_json(text: str) -> Json:
    """Return the value of an annotation; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def options_of(annotation: str) -> Mapping[str, list[str]]:
    """Return the values of each option in K3s' annotation, which is a JSON array of words."""
    words = parsed_json(annotation)
    options: dict[str, list[str]] = {}
    name = ""
    for word in map(str, words[1:] if isinstance(words, list) else ()):
        if word.startswith("-"):
            name, separator, value = word.lstrip("-").partition("=")
            name = ALIASES.get(name, name)
            options.setdefault(name, []).extend([value] * bool(separator))
        elif name:
            options[name].append(word)
    return options


def compared_values(options: Mapping[str, list[str]]) -> Mapping[str, str]:
    """Return the values that equal nodes share, without secrets; an argument of a component has its own entry."""
    found: dict[str, list[str]] = {}
    for option in options.keys() - _OF_ONE_NODE:
        for text in () if is_secret(option) else options[option] or ["true"]:
            argument, separator, value = _public(text).lstrip("-").partition("=")
            is_component = option.endswith("-arg") and separator
            subject = f"--{option} {argument}" if is_component else f"--{option}"
            found.setdefault(subject, []).append(value if is_component else _public(text))
    return {subject: ",".join(sorted(values)) for subject, values in found.items()}


def leaked_secrets(options: Mapping[str, list[str]]) -> str:
    """Return the options whose secret everybody can read who can read Nodes. K3s hides others by asterisks."""
    given = ((option, text) for option, values in options.items() for text in values if text.strip("*"))
    leaks = (option for option, text in given if _public(text) != text or (is_secret(option) and option != _PROXY))
    return ", ".join(f"--{option}" for option in dict.fromkeys(leaks))
