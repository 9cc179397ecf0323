"""Unified diffs of what is there and what is wanted. Pure; secrets of K3s' configuration never come out."""

from __future__ import annotations

import difflib
import re

from agent.k3s.options import HIDDEN, is_secret
from agent.model import Absent, File

_EXPLICIT_KEY = re.compile(r"\?\s+[\"']?([\w.-]+)\+?[\"']?")
_KEY = re.compile(r"[\"']?([\w.-]+)\+?[\"']?\s*[:=]")
_NO_END_OF_LINE = "\n\\ No newline at end of file"


def unified(before: File | Absent, after: File | Absent) -> str:
    """A unified diff of what a file says and is to say; empty where that is the same, whatever its mode and owner."""
    name = after.id
    return "".join(difflib.unified_diff(_lines(before), _lines(after), f"{name} (now)", f"{name} (wanted)"))


def _lines(state: File | Absent) -> list[str]:
    """The lines of a file, each with its end, as difflib takes them."""
    if not isinstance(state, File) or not state.content:
        return []
    text = state.content.decode("utf-8", "backslashreplace")
    lines = _without_secrets(text.removesuffix("\n").split("\n"))
    if not text.endswith("\n"):
        lines[-1] += _NO_END_OF_LINE
    return [f"{line}\n" for line in lines]


def _without_secrets(lines: list[str]) -> list[str]:
    """Hide what follows a secret's key on its line, and the lines below that YAML counts to its value."""
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
