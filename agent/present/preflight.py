"""A preflight as a table, as plain lines, and as JSON; docs/reference/preflight.schema.json describes the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.errors import ExitCode
from agent.present import Format, Verbosity, fitting, remediation
from agent.present.text import printable
from agent.report import ItemStatus

if TYPE_CHECKING:
    from rich.console import Console

    from agent.plan.preflight import Preflight, Problem
    from agent.report import Item

SCHEMA = 1

_FIXED = "apply fixes "


def present(
    result: Preflight, output_format: Format, verbosity: Verbosity, stream: TextIO, options: tuple[str, ...] = ()
) -> None:
    """Write the result to `stream`. `options` are the host options that the commands in remediations repeat."""
    shown = tuple(
        one._replace(
            finding=one.finding._replace(remediation=remediation.with_options(one.finding.remediation, options))
        )
        for one in result.problems
    )
    result = result._replace(problems=shown)
    if output_format is Format.AUTO:
        output_format = Format.TABLE if stream.isatty() else Format.PLAIN
    if output_format is Format.JSON:
        stream.write(_as_json(result))
    elif output_format is Format.TABLE:
        _as_table(result, verbosity, stream)
    else:
        stream.write(fitting(_as_lines(result, verbosity), stream))


def _as_lines(result: Preflight, verbosity: Verbosity) -> str:
    from agent.present.plain import finding_line, item_line

    lines = []
    if verbosity > Verbosity.QUIET:
        lines.append(_title(result))
    if verbosity is Verbosity.VERBOSE:
        lines += [f"fact {fact.name}: {fact.value} ({fact.source})" for fact in result.facts]
    for one in result.problems:
        if _is_shown(one, verbosity):
            lines.append(f"{_FIXED if one.fixed_by_apply else ''}{finding_line(one.finding)}")
    if verbosity > Verbosity.QUIET:
        lines += [item_line(item) for item in result.changes]
    lines += [f"left after apply: {item_line(item)}" for item in _unexpected(result)]
    if verbosity > Verbosity.QUIET:
        lines += [f"note {note.id}: {note.text} ({note.source})" for note in result.notes]
    if verbosity > Verbosity.QUIET or result.exit_code:
        lines.append(f"result {int(result.exit_code)}: {_summary(result)}")
    return "".join(f"{printable(line)}\n" for line in lines)


def _as_table(result: Preflight, verbosity: Verbosity, stream: TextIO) -> None:
    from rich.console import Console

    from agent.present.text import stripped

    console = Console(file=stream, highlight=False)
    with console.capture() as captured:
        _print_to(console, result, verbosity)
    stream.write(fitting(stripped(captured.get()), stream))


def _print_to(console: Console, result: Preflight, verbosity: Verbosity) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from agent.present.table import facts_table, finding_block, items_table, styled

    is_loud = verbosity > Verbosity.QUIET
    if is_loud:
        console.print(styled(_title(result), "bold"))
    if verbosity is Verbosity.VERBOSE:
        console.print(facts_table(result.facts))
    for one in result.problems:
        if _is_shown(one, verbosity):
            if one.fixed_by_apply:
                console.print(styled(_FIXED.strip(), "green"), end=" ")
            console.print(finding_block(one.finding))
    if is_loud and result.changes:
        console.print(styled("apply changes, for that version", "bold"))
        console.print(items_table(result.changes, console.width))
    if _unexpected(result):
        console.print(styled("left after apply", "bold"))
        console.print(items_table(_unexpected(result), console.width))
    for note in result.notes if is_loud else ():
        console.print(Text("note ", "cyan").append(note.id, "bold"))
        console.print(Padding(styled(note.text), (0, 0, 0, 2)))
        console.print(Padding(styled(note.source, "dim"), (0, 0, 0, 2)))
    if is_loud or result.exit_code:
        good = result.exit_code is ExitCode.COMPLIANT
        console.print(styled(f"{'✔' if good else '✘'} {_summary(result)}", "bold green" if good else "bold red"))


def _as_json(result: Preflight) -> str:
    import json

    from agent import __version__
    from agent.k3s.secrets import redacted_all
    from agent.plan.preflight import MEANINGS
    from agent.present.json_report import finding_object, item_object

    shape = {
        "schema": SCHEMA,
        "version": __version__,
        "verb": "preflight",
        "exit_code": int(result.exit_code),
        "meaning": MEANINGS[result.exit_code],
        "current_k3s_version": result.current,
        "target_k3s_version": result.target,
        "would_start": result.would_start,
        "stays_hardened": result.stays_hardened,
        "facts": [fact._asdict() for fact in result.facts],
        "findings": [
            {**finding_object(one.finding), "fixed_by_apply": one.fixed_by_apply, "is_new": one.is_new}
            for one in result.problems
        ],
        "changes": list(map(item_object, result.changes)),
        "left_after_apply": list(map(item_object, result.left)),
        "notes": [{"id": note.id, "message": note.text, "source": note.source} for note in result.notes],
    }
    # ASCII, so that it is valid JSON in every encoding of the stream.
    return json.dumps(redacted_all(shape), indent=2) + "\n"


def _title(result: Preflight) -> str:
    role = result.facts[0].value
    return f"k3s-harden preflight: {role}, K3s {result.current or 'of unknown version'} → {result.target}"


def _is_shown(one: Problem, verbosity: Verbosity) -> bool:
    return verbosity > Verbosity.QUIET or one.is_decisive


def _unexpected(result: Preflight) -> tuple[Item, ...]:
    """Return what is left after apply and not among the changes with the same status, so that it was not shown yet."""
    shown = {(item.id, item.status) for item in result.changes if item.status is not ItemStatus.DIFFERS}
    return tuple(item for item in result.left if (item.id, item.status) not in shown)


def _summary(result: Preflight) -> str:
    if not result.would_start:
        text = f"K3s {result.target} would not start with this configuration"
    elif not result.stays_hardened:
        text = f"K3s {result.target} would start, but apply cannot make the host compliant"
    else:
        text = f"K3s {result.target} would start, and the host is compliant{' after apply' if result.changes else ''}"
    if result.would_start and not result.is_complete:
        text = text.replace("would start", "would start as far as it could be checked", 1)
    left = sum(one.is_decisive for one in result.problems)
    differing = sum(item.status is ItemStatus.DIFFERS for item in result.changes)
    counts = [(left, "to fix first"), (differing, "changed by apply"), (len(result.notes), "to know")]
    listed = ", ".join(f"{number} {what}" for number, what in counts if number)
    return f"{text} ({listed})." if listed else f"{text}."
