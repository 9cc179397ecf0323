"""The impact of hardening as a table, plain lines or JSON; docs/reference/impact.schema.json describes the JSON."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from agent.base.repair import Decide, Patch
from agent.base.value import replace
from agent.findings.impact import ACCEPTED
from agent.reports import repair_texts, write
from agent.reports.formats import SettingsFormat, Verbosity
from agent.reports.repair_texts import command
from agent.reports.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from agent.base.repair import Repair
    from agent.findings.impact import Break, Impact
    from agent.reports.formats import Format

SCHEMA = 2
_MANY = 10
"""Objects from which on an overview precedes them."""
_LONGEST = 240
"""Characters of a reason without -v."""


def present_impact(
    impact: Impact, output_format: Format | SettingsFormat, verbosity: Verbosity, stream: TextIO
) -> None:
    """Write the impact to `stream`. Texts of the cluster are escaped, and secrets in them are replaced."""
    if isinstance(output_format, SettingsFormat):
        stream.write("".join(f"{printable(line)}\n" for line in _settings(impact)))
        return
    show = partial(_print, impact=impact, verbosity=verbosity)
    write(stream, output_format, partial(_as_json, impact), partial(_lines, impact, verbosity), show)


def summary(impact: Impact) -> str:
    """Return the last line: how many objects break when."""
    counts = ", ".join(f"{count} {name}" for name, count in impact.counts.items() if count)
    return f"result {int(impact.exit_code)}: {counts or 'nothing breaks'}"


def _settings(impact: Impact) -> list[str]:
    """Return the lines of the settings with all rules."""
    rules = [f"    - {rule.setting}" for rule in impact.allow]
    return ["network-policies:", "  allow:", *rules] if rules else ["# no rule is needed"]


def _lines(impact: Impact, verbosity: Verbosity) -> Iterator[str]:
    """Yield a line with four columns for each object; with -v also the policies."""
    is_verbose = verbosity is Verbosity.VERBOSE
    if verbosity is not Verbosity.QUIET:
        yield from (printable(line) for line in _overview(impact))
        for entry in impact.breaks:
            fix, rest = _fix(entry, is_verbose=is_verbose)
            text = "; ".join(filter(None, (repair_texts.text(fix), rest)))
            texts = (str(entry.object), _when(entry), _why(entry, is_verbose=is_verbose), text)
            yield "\t".join(map(printable, texts))
            yield from (f"\t{printable(line)}" for line in _commands(entry) if is_verbose)
        yield from (printable(f"note: {note}") for note in impact.notes)
    yield summary(impact)


def _print(console: Console, impact: Impact, verbosity: Verbosity) -> None:
    from agent.reports.layout import print_command, print_line, styled
    from agent.reports.table_report import print_fix

    is_verbose = verbosity is Verbosity.VERBOSE
    if verbosity is not Verbosity.QUIET:
        for line in _overview(impact):
            print_line(console, styled(line))
        for when, entries in groupby(impact.breaks, key=_when):
            print_line(console, styled(when, "bold"))
            for entry in entries:
                print_line(console, styled(str(entry.object), "red" if entry.is_certain else "magenta"), 2)
                print_line(console, styled(_why(entry, is_verbose=is_verbose)), 4, 2)
                fix, rest = _fix(entry, is_verbose=is_verbose)
                print_fix(console, fix, 4)
                if rest:
                    print_line(console, styled(rest, "dim"), 4, 2)
                for line in _commands(entry) if is_verbose else ():
                    print_command(console, line, 4)
        for note in impact.notes:
            print_line(console, styled(f"note: {note}", "dim"), 0, 2)
    print_line(console, styled(summary(impact), "bold"))


def _overview(impact: Impact) -> Iterator[str]:
    """Yield the number of objects by namespace and owner, if these are many."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for entry in impact.breaks if len(impact.breaks) > _MANY else ():
        groups.setdefault((entry.object.namespace, entry.owner), Counter())[_when(entry)] += 1
    for (namespace, owner), found in sorted(groups.items()):
        counts = ", ".join(f"{count} {when}" for when, count in found.items())
        yield f"{', '.join(filter(None, (namespace or 'cluster', owner)))}: {counts}"


def _fix(entry: Break, *, is_verbose: bool) -> tuple[Repair, str]:
    """Return what keeps an object running, and the rest that makes it compliant, which only -v shows in steps."""
    steps = tuple(step for step in entry.repair.steps if not isinstance(step, (Patch, Decide)))
    if is_verbose or steps in ((), entry.repair.steps):
        return entry.repair, ""
    return replace(entry.repair, steps=steps), "then correct its fields, which -v shows"


def _when(entry: Break) -> str:
    if entry.accepted and entry.is_accepted:
        return f"{ACCEPTED} until {entry.accepted.expires}"
    return str(entry.when) if entry.is_certain else f"may break {entry.when}"


def _why(entry: Break, *, is_verbose: bool) -> str:
    shown = entry.reasons if is_verbose else entry.reasons[:1]
    more = f" (and {len(entry.reasons) - 1} more; -v lists them)" if len(shown) < len(entry.reasons) else ""
    texts = (str(reason) for reason in shown)
    short = (text if is_verbose or len(text) <= _LONGEST else f"{text[:_LONGEST]}... (-v)" for text in texts)
    return ", ".join(filter(None, ("; ".join(short) + more, entry.condition)))


def _commands(entry: Break) -> Iterator[str]:
    """Yield commands that patch the workload, and that create the policies without the settings."""
    import json
    from shlex import quote

    yield from filter(None, (command(step) for step in entry.repair.steps if isinstance(step, Patch)))
    yield from (f"echo {quote(json.dumps(rule.policy))} | kubectl create -f -" for rule in entry.allow)


def _accepted(entry: Break) -> dict[str, object] | None:
    accepted = entry.accepted
    if accepted is None or not entry.is_accepted:
        return None
    return {"reason": accepted.reason, "expires": accepted.expires, "approved_by": accepted.approved_by}


def _as_json(impact: Impact) -> str:
    """Return the impact as JSON. Every key is present."""
    from agent.reports.json_report import json_text
    from agent.reports.repair_texts import repair_object

    breaks = [
        {
            **entry.object._asdict(),
            "owner": entry.owner,
            "topic": entry.topic,
            "when": entry.when,
            "determined": entry.is_certain,
            "condition": entry.condition,
            "reasons": list(map(vars, entry.reasons)),
            "repair": repair_object(entry.repair),
            "accepted": _accepted(entry),
            "allow": [{"setting": rule.setting, "network_policy": rule.policy} for rule in entry.allow],
        }
        for entry in impact.breaks
    ]
    content = {"server": impact.server, "counts": impact.counts, "breaks": breaks, "notes": impact.notes}
    return json_text(SCHEMA, "impact", impact.exit_code, content)
