"""Unified diffs of found and expected files, without the secrets of K3s' configuration. Pure."""

from __future__ import annotations

import difflib
import re

from agent.k3s.options import HIDDEN, is_secret
from agent.model import Absent, File

_EXPLICIT_KEY = re.compile(r"\?\s+[\"']?([\w.-]+)\+?[\"']?")
_KEY = re.compile(r"[\"']?([\w.-]+)\+?[\"']?\s*[:=]")
_NO_NEWLINE = "\n\\ No newline at end of file"


def unified(before: File | Absent, after: File | Absent) -> str:
    """Return a unified diff of a file's content; empty if only mode or owner differ."""
    name = after.id
    return "".join(difflib.unified_diff(_lines(before), _lines(after), f"{name} (found)", f"{name} (expected)"))


def _lines(state: File | Absent) -> list[str]:
    """Return the lines of a file, each with its newline, as difflib requires."""
    if not isinstance(state, File) or not state.content:
        return []
    text = state.content.decode("utf-8", "backslashreplace")
    lines = _without_secrets(text.removesuffix("\n").split("\n"))
    if not text.endswith("\n"):
        lines[-1] += _NO_NEWLINE
    return [f"{line}\n" for line in lines]


def _without_secrets(lines: list[str]) -> list[str]:
    """Hide the value after the key of a secret, and the following lines that belong to the value in YAML."""
    shown = []
    secret_at: int | None = None
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if not line.strip():
            shown.append(line)
            continue
        if secret_at is not None and (depth > secret_at or (depth == secret_at and line[depth] in "-:")):
            shown.append(f"{line[:depth]}{HIDDEN}")
            continue
        keys = (*_EXPLICIT_KEY.finditer(line), *_KEY.finditer(line))
        key = next((key for key in keys if is_secret(key[1].lower())), None)
        secret_at = None if key is None else depth
        shown.append(line if key is None else f"{line[: key.end()]} {HIDDEN}")
    return shown
