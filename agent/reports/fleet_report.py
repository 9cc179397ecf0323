"""The nodes of clusters as a table, plain lines or JSON; docs/reference/fleet.schema.json describes the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from agent.base.times import timestamp
from agent.cluster.fleet.members import Fleet
from agent.cluster.fleet.published import FleetNode
from agent.cluster.node_status import PREFIX, PublishedResult
from agent.k3s.redaction import redacted_all
from agent.reports.fleet_texts import HEADS, below, columns, summary
from agent.reports.formats import Format, Verbosity, fitting

SCHEMA = 1
_LEFT_OUT_FIRST = ("k3s-harden", "Drifting since", "K3s", "Role")
"""Columns that a narrow terminal has no room for."""
_ROOM = 30
"""Characters that remarks need beside the columns."""
_NOT_IN_JSON = ("uid", "leaked", "compared", "published")


def present_fleet(
    fleet: Fleet, output_format: Format, _: Verbosity, stream: TextIO, only: Sequence[str] = tuple(PublishedResult)
) -> None:
    """Write the nodes to `stream`. Texts of nodes are escaped, and secrets in them are replaced.

    Formats for people show `only` the nodes that it selects; counts are always those of all nodes.
    """
    if output_format is Format.JSON:
        stream.writelines(_as_json(fleet))
        return
    if output_format is Format.OPENREPORTS:
        from agent.reports.assessments.openreports import fleet_reports

        text = fleet_reports(fleet)
    else:
        shown = [node for node in fleet.nodes if node.is_one_of(only)]
        if output_format is Format.HTML:
            from agent.reports.html.fleet_page import fleet_html

            text = fleet_html(fleet, shown)
        elif output_format.on(stream) is Format.TABLE:
            from rich.console import Console

            text = "\n".join(_table(fleet, shown, Console(file=stream).width or 80)) + "\n"
        else:
            rows = ("\t".join(text or "-" for text in columns(node)) for node in shown)
            text = "".join(f"{line}\n" for line in (*rows, *below(fleet), summary(fleet)))
    stream.write(fitting(text, stream))


def _table(fleet: Fleet, shown: Sequence[FleetNode], width: int) -> Iterator[str]:
    """Yield aligned lines of this width. Columns without a value, or without room, are left out."""
    from textwrap import wrap

    rows = [columns(node) for node in shown]
    widths = {head: max(map(len, (head, *texts))) for head, *texts in zip(HEADS[:-1], *rows) if any(texts) or not shown}
    room = width - min(_ROOM, max((len(row[-1]) for row in rows), default=0))
    hidden = [head for head in _LEFT_OUT_FIRST if sum(widths.values()) + 2 * len(widths) > room and widths.pop(head, 0)]
    start = sum(widths.values()) + 2 * len(widths)

    def wrapped(text: str, indent: int) -> list[str]:
        return wrap(text, max(width - indent, 1), break_long_words=False, break_on_hyphens=False)

    for row in [HEADS, *rows]:
        line = "  ".join(text.ljust(widths[head]) for head, text in zip(HEADS, row) if head in widths)
        # Words that have no room beside the columns have more below them.
        longest = max(map(len, row[-1].split()), default=0)
        indent = start if max(longest, min(len(row[-1]), _ROOM)) <= width - start else 4
        remarks = wrapped(row[-1], indent)
        if indent == start:
            line = f"{line}  {''.join(remarks[:1])}"
            remarks = remarks[1:]
        yield line.rstrip()
        yield from (" " * indent + text for text in remarks)
    more = [f"a wider terminal or --format plain also shows: {', '.join(hidden)}"] * bool(hidden)
    for line in (*below(fleet), *more, summary(fleet)):
        first, *others = wrapped(line, 2) or [""]
        yield first
        yield from (f"  {text}" for text in others)


def _as_json(fleet: Fleet) -> Iterator[str]:
    """Yield one JSON object. Every key is present; what a node does not publish is null. Each node has its own line."""
    import json

    from agent import __version__

    shape = {
        "schema": SCHEMA,
        "version": __version__,
        "verb": "fleet",
        "exit_code": int(fleet.exit_code),
        "time": timestamp(fleet.when),
        "problems": fleet.problems,
        "counts": fleet.counts,
        "clusters": [{"name": name, **counts} for name, counts in fleet.clusters.items()],
        "missing": fleet.missing,
        "changes": fleet.changes,
        "nodes_by_failed_control": fleet.nodes_by_failed_control,
        "seen": [{"name": name, "time": time} for name, time in fleet.seen.items()],
        "nodes": [],
    }
    # ASCII, so that no text of a node controls a terminal.
    yield json.dumps(redacted_all(shape), indent=2).removesuffix("]\n}")
    for at, node in enumerate(fleet.nodes):
        own = {name: value for name, value in node._asdict().items() if name not in _NOT_IN_JSON}
        published = {name.removeprefix(PREFIX).replace("-", "_"): value for name, value in node.published.items()}
        yield f"{',' * bool(at)}\n    {json.dumps(redacted_all({**own, **published}))}"
    yield "\n  ]\n}\n"
