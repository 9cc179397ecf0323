"""Syntax of names in Kubernetes (apimachinery, pkg/util/validation). Pure."""

from __future__ import annotations

import re

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_WORD = r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LONGEST_LABEL = 63
"""Characters, also of the name in the key of a label, and of its value."""
_LONGEST_SUBDOMAIN = 253


def is_label(text: str) -> bool:
    """Return whether a text can be a name such as that of a namespace (IsDNS1123Label)."""
    return len(text) <= _LONGEST_LABEL and re.fullmatch(_LABEL, text, re.ASCII) is not None


def is_subdomain(text: str) -> bool:
    """Return whether a text can be a name such as that of most objects (IsDNS1123Subdomain)."""
    return len(text) <= _LONGEST_SUBDOMAIN and re.fullmatch(_SUBDOMAIN, text, re.ASCII) is not None


def is_qualified_name(text: str) -> bool:
    """Return whether a text can be the key of a label (IsQualifiedName)."""
    prefix, slash, name = text.rpartition("/")
    return _is_word(name) and (not slash or is_subdomain(prefix))


def is_label_value(text: str) -> bool:
    """Return whether a text can be the value of a label (IsValidLabelValue)."""
    return not text or _is_word(text)


def _is_word(text: str) -> bool:
    return len(text) <= _LONGEST_LABEL and re.fullmatch(_WORD, text, re.ASCII) is not None
