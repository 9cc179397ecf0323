"""The pages docs/howto/symptoms.md and host.md: what somebody sees, in the words of K3s and kubectl, and its fix."""

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


_OF_THE_HOST = """\
`sudo k3s-harden check` looks for these reasons on the host, without running K3s and without side effects, and prints
the commands for this system. To search by symptom, read K3s' log: `journalctl -u k3s -n 50 --no-pager`. The gate blocks
K3s for none of them; [k3s-blocked.md](k3s-blocked.md) shows whether it does.

If K3s certainly exits, or starts again and again, the finding is an error, and `prevents_start` is true in JSON. The
others are warnings. [findings.md](../reference/findings.md) has the evidence for each, and whether `check --root`
reports it for a host tree, too.

`k3s check-config` examines the kernel's configuration and a few host settings, but not mounts, used ports, names,
clocks, tokens and the controller pids. It runs `modprobe` and unpacks K3s, so k3s-harden does not run it.

## After a fix

```sh
sudo k3s-harden check
sudo systemctl restart k3s
```

`check` no longer lists the reason, and K3s becomes `active`."""


def host_page() -> str:
    """Return the page."""
    return page(
        (
            "# K3s does not start: reasons on the host",
            generated("agent/findings/machine"),
            _OF_THE_HOST,
            "## Where K3s fails",
            table(_HEAD_OF_REASONS, _reasons(is_certain=True)),
            "## Where K3s may start, and something else fails",
            table(_HEAD_OF_REASONS, _reasons(is_certain=False)),
            _AFTER,
        )
    )


_HEAD_OF_REASONS = ("in K3s' log", "cause", "fix")
_AFTER = "Reasons in K3s' configuration have [findings of their own](../reference/findings.md)."


def _reasons(*, is_certain: bool) -> Iterator[tuple[str, ...]]:
    for name, reason in REASONS.items():
        kind = KINDS[name]
        if kind.prevents_start.holds == is_certain:
            cause = " ".join(kind.explanation.split("\n\n")[0].split())
            link = f"[`{name}`](../reference/findings.md#{name})"
            yield f"`{reason.symptom}`", f"{cause} {link}", kind.repair
