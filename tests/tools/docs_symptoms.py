"""The page docs/howto/symptoms.md: what somebody sees, in the words of K3s and kubectl, and where the fix is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.findings import KINDS
from agent.findings.machine.reason import REASONS
from tests.tools.markdown import anchor, generated, page, table

_HOWTOS = Path(__file__).parents[2] / "docs/howto"
_INTRODUCTION = """\
This page finds the fix for what you see: search it for a word of the message. On a node,
`sudo k3s-harden check` prints the fix for this host."""


class _Source(NamedTuple):
    """A table of a page whose first column is a symptom, and whose last column is what to do."""

    page: str
    heading: str
    seen: str


_SOURCES = (
    _Source("k3s-blocked.md", "Is it the gate?", "In `systemctl status k3s-harden@k3s.service`"),
    _Source("workload-fails.md", "What you see", "In kubectl and in pods"),
    _Source("strict.md", "If a workload fails", "In kubectl and in pods, with `profile: strict`"),
    _Source("read-a-report.md", "If it refuses", "In a message of k3s-harden"),
)


def symptoms() -> str:
    log = (
        (f"`{reason.symptom}`", KINDS[name].repair, f"[{name}](../reference/findings.md#{name})")
        for name, reason in REASONS.items()
    )
    parts = ["# Symptoms", generated("the tables of the pages that it links to"), _INTRODUCTION]
    parts += ["## In K3s' log (`journalctl -u k3s`)", table(_HEAD, log)]
    for source in _SOURCES:
        parts += [f"## {source.seen}", table(_HEAD, _rows(source))]
    return page(parts)


_HEAD = ("you see", "do", "page")


def _rows(source: _Source) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the table below the heading."""
    text = (_HOWTOS / source.page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {source.heading}\n")[2].partition("\n## ")[0]
    _, *lines = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    for line in lines:
        seen, *_, action = re.split(r" \| ", line)
        there = re.sub(r"\]\(#", f"]({source.page}#", action)
        yield seen, there, f"[{source.page.removesuffix('.md')}]({source.page}#{anchor(source.heading)})"
