"""Syntax of names in Kubernetes (apimachinery, pkg/util/validation). Pure."""

from __future__ import annotations

import re

LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
"""A name of up to 63 characters, such as that of a namespace (IsDNS1123Label)."""

SUBDOMAIN = rf"{LABEL}(?:\.{LABEL})*"
"""A name of up to 253 characters, such as that of most objects (IsDNS1123Subdomain)."""

_WORD = r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"


def is_qualified_name(text: str) -> bool:
    """Return whether a text can be the key of a label (IsQualifiedName)."""
    prefix, slash, name = text.rpartition("/")
    if slash and not (prefix and len(prefix) <= 253 and re.fullmatch(SUBDOMAIN, prefix, re.ASCII)):  # noqa: PLR2004
        return False
    return len(name) <= 63 and re.fullmatch(_WORD, name, re.ASCII) is not None  # noqa: PLR2004


def is_label_value(text: str) -> bool:
    """Return whether a text can be the value of a label (IsValidLabelValue)."""
    return not text or (len(text) <= 63 and re.fullmatch(_WORD, text, re.ASCII) is not None)  # noqa: PLR2004
