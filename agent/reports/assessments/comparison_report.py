"""Two assessments compared: lines, HTML, and JSON that docs/reference/comparison.schema.json describes."""

from __future__ import annotations

from collections import Counter

from agent.assess.baseline import Baseline, ChangeKind, ComparedControl, Comparison
from agent.base.errors import UsageError
from agent.base.times import timestamp
from agent.reports.formats import Format
from agent.reports.text import printable

_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em;max-width:75em}li{overflow-wrap:anywhere}"
    "td,th{text-align:left;vertical-align:top;padding:.3em 1em .3em 0;border-top:1px solid #ccc}"
)


def comparison_text(comparison: Comparison, output_format: Format) -> str:
    """Return a comparison in a format. Raises UsageError for one that cannot show it."""
    if output_format in (Format.AUTO, Format.TABLE, Format.PLAIN):
        return _lines(comparison)
    if output_format is Format.JSON:
        return _json(comparison)
    if output_format is Format.HTML:
        return _html(comparison)
    raise UsageError(f"cannot use --compare with --format {output_format}", "use table, json or html")


def _lines(comparison: Comparison) -> str:
    lines = [f"{name} {_report(report)}" for name, report in zip(("old", "new"), comparison)]
    for control in comparison.controls:
        lines.append(f"{control.kind} {_title(control)}: {_statuses(control)}")
        lines += [f"  + {printable(text)}" for text in control.added]
        lines += [f"  - {printable(text)}" for text in control.removed]
    lines.append(f"result {int(comparison.exit_code)}: {_summary(comparison)}")
    return "".join(f"{line}\n" for line in lines)


def _json(comparison: Comparison) -> str:
    from agent.reports.json_report import json_text

    content = {
        **{name: _identity(report) for name, report in zip(("old", "new"), comparison)},
        "controls": [
            {
                "id": control.id,
                "change": str(control.kind),
                "before": vars(control.before),
                "after": vars(control.after),
                "added": control.added,
                "removed": control.removed,
            }
            for control in comparison.controls
        ],
    }
    return json_text(1, "assess", comparison.exit_code, content)


def _html(comparison: Comparison) -> str:
    from html import escape

    def items(sign: str, texts: list[str]) -> str:
        return "".join(f"<li>{sign} {escape(printable(text))}</li>" for text in texts)

    heads = "".join(f"<p>{name}: {escape(_report(report))}</p>" for name, report in zip(("Old", "New"), comparison))
    rows = "".join(
        f"<tr><td>{control.kind}</td><td>{escape(_title(control))}</td><td>{escape(_statuses(control))}"
        f"<ul>{items('+', control.added)}{items('-', control.removed)}</ul></td></tr>"
        for control in comparison.controls
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Comparison of assessments</title>'
        f"<style>{_STYLE}</style><h1>Comparison of assessments</h1>{heads}<p>{_summary(comparison)}</p>"
        f"<table><tr><th>Change</th><th>Control</th><th>Status and evidence</th></tr>{rows}</table></html>\n"
    )


def _identity(report: Baseline) -> dict[str, str]:
    texts = {"node": report.node, "benchmark": report.benchmark, "time": timestamp(report.when)}
    return {"file": str(report.file.path), "version": report.version, **texts}


def _report(report: Baseline) -> str:
    texts = _identity(report)
    return printable(f"{texts['file']}: {texts['node']}, {texts['benchmark']}, {texts['time']}")


def _title(control: ComparedControl) -> str:
    about = control.after if control.after.title else control.before
    return printable(f"{about.number} {control.id}: {about.title}".strip())


def _statuses(control: ComparedControl) -> str:
    before, after = control.before, control.after
    status = f"{before.status} → {after.status}" if before.status is not after.status else str(after.status)
    found = f"; found {after.found}" if after.found != before.found else ""
    return printable(status + found)


def _summary(comparison: Comparison) -> str:
    counts = Counter(control.kind for control in comparison.controls)
    return ", ".join(f"{counts[kind]} {kind}" for kind in ChangeKind)
