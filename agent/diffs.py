"""Unified diffs of what is there and what is wanted. Pure; secrets of K3s' configuration never come out."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from agent.k3s_config import SECRET_KEYS
from agent.model import File, Observed
from agent.plan import difference

_KEYS = "|".join(sorted(map(re.escape, SECRET_KEYS)))
_SECRET = re.compile(rf"^(\s*[\"']?(?:{_KEYS})\+?[\"']?\s*[:=]).*", re.IGNORECASE)


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
    if not isinstance(state, File):
        return []
    text = state.content.decode("utf-8", "backslashreplace")
    return [_SECRET.sub(r"\1 (not shown)", line) + "\n" for line in text.splitlines()]
