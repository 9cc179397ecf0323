"""Unified diffs of what is there and what is wanted. Pure; secrets of K3s' configuration never come out."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from agent.k3s_config import HIDDEN, is_secret
from agent.model import File, Observed
from agent.plan import difference

_EXPLICIT_KEY = re.compile(r"\?\s+[\"']?([\w.-]+)\+?[\"']?")
_KEY = re.compile(r"[\"']?([\w.-]+)\+?[\"']?\s*[:=]")
_NO_END_OF_LINE = "\n\\ No newline at end of file"


def unified(before: Observed, after: Observed) -> str:
    """A unified diff for files, one line old → new for everything else; empty where nothing differs."""
    if before == after:
        return ""
    if not isinstance(after, File) and not isinstance(before, File):
        return f"{difference(before, after)}\n"
    name = after.id
    old, new = _lines(before), _lines(after)
    text = "".join(difflib.unified_diff(old, new, f"{name} (now)", f"{name} (wanted)"))
    if isinstance(before, File) and isinstance(after, File):
        access = difference(replace(before, content=b""), replace(after, content=b""))
        text += f"{access}\n" if access else ""
    return text


def _lines(state: Observed) -> list[str]:
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
