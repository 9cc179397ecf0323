"""Explanations of controls, findings and settings for `explain`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from agent.benchmark import catalogue, descriptions
from agent.benchmark.kube_bench import DIFFERENCES
from agent.checks.cluster.check import ClusterCheck
from agent.errors import UsageError
from agent.findings import KINDS
from agent.findings.remediations import REMEDIATIONS
from agent.guide.controls import CONTROLS
from agent.present import remediation
from agent.settings import schema as settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.benchmark.control import BenchmarkControl
    from agent.findings.registry import FindingKind
    from agent.guide.control import Control, Origin

SETTINGS = "settings"
"""Argument of `explain` for all settings."""

_WIDTH = 100
_AS_IT_IS = "By hand"
"""Contains commands, which are pasted and must not be wrapped."""


def listed() -> str:
    """Return all IDs, one per line."""
    of_the_guide = {control.id: control.title for control in CONTROLS}
    beyond = {row.id: row.title for row in catalogue.CATALOGUE if row.id not in of_the_guide}
    widest = max(map(len, (*KINDS, *of_the_guide, *beyond)))
    lines = ["Controls of the guide"]
    lines += [f"  {name:{widest}}  {title}" for name, title in of_the_guide.items()]
    lines += ["", "Findings of `check`"]
    lines += [f"  {kind.id:{widest}}  {kind.level}: {summary(kind)}" for kind in KINDS.values()]
    lines += ["", "Other benchmark controls of `assess`"]
    lines += [f"  {name:{widest}}  {title}" for name, title in beyond.items()]
    lines += ["", "By CIS number: k3s-harden explain 1.2.16, or cis-1.9/1.2.16 for one benchmark"]
    lines += [f"Settings: k3s-harden explain {SETTINGS}"]
    return "".join(f"{line}\n" for line in lines)


def explained(name: str) -> str:
    """Return the explanation of a control or finding. Raises UsageError for an unknown ID or number."""
    rows = catalogue.named(name)
    # A number can belong to several controls. A control of the guide is not always in a benchmark.
    controls = [text for one in {name: None, **{row.id: None for row in rows}} for text in _controls(one, rows)]
    if controls:
        return "\n".join(controls)
    if name in KINDS:
        return _finding(KINDS[name])
    if name == SETTINGS:
        return _settings()
    close = _close(name)
    raise UsageError(
        f"cannot explain {name}: no control or finding has this ID or number",
        f"did you mean {' or '.join(close)}?" if close else "run k3s-harden explain for a list",
    )


def _close(name: str) -> list[str]:
    """Return similar IDs."""
    import difflib

    ids = (*(control.id for control in CONTROLS), *KINDS, *(row.id for row in catalogue.CATALOGUE))
    known = list(dict.fromkeys(ids))
    # A part of an ID ("psa", "maxage") is more likely than a misspelling.
    return [one for one in known if name and name in one][:3] or difflib.get_close_matches(name, known)


def summary(kind: FindingKind) -> str:
    """Return the first paragraph of the explanation of a finding."""
    return " ".join(kind.explanation.split("\n\n")[0].split())


def origin_in_words(origin: Origin) -> str:
    """Return the heading of the guide and the CIS numbers of a control."""
    numbers = f" (CIS {', '.join(origin.cis)})" if origin.cis else ""
    return f"“{origin.heading}”{numbers}" + (f"; beyond the guide: {origin.beyond}" if origin.beyond else "")


def _settings() -> str:
    """Return all settings with their allowed values, and an example."""
    parts = [("", f"Settings in {settings.DEFAULT_SETTINGS}; all are optional.")]
    parts += [
        (row.key, f"{row.description} Allowed: {row.kind.allowed}. Default: {row.default}.") for row in settings.rows()
    ]
    return f"{_paragraphs(parts)}Example with all settings\n{textwrap.indent(settings.example(), '  ')}"


def _controls(name: str, rows: Iterable[BenchmarkControl]) -> Iterator[str]:
    """Yield the entries of the guide, one for each version range, then those of the benchmarks."""
    yield from (_control(control) for control in CONTROLS if control.id == name)
    yield from (_row(row) for row in rows if row.id == name)


def _control(control: Control) -> str:
    parts = [
        ("", f"{control.id}: {control.title}"),
        ("Rationale", control.why),
        ("Applies to", str(control.applies)),
        ("In the guide", origin_in_words(control.origin)),
        ("Differs from the guide", control.deviation),
        ("Can break", control.risk),
        (_AS_IT_IS, control.by_hand),
    ]
    return _paragraphs(parts)


def _row(row: BenchmarkControl) -> str:
    """Return a benchmark control, without what the entry of the guide already has."""
    is_explained = row.guide is not None and row.guide.id == row.id
    parts = [
        ("", "In the benchmarks" if is_explained else f"{row.id}: {row.title}"),
        ("Number", descriptions.numbers(row) or "none"),
        ("Expected", row.check.description),
        ("With --cluster", _with_cluster(row)),
        *((f"Expected in {span}", text) for text, span in descriptions.earlier(row)),
        ("Rationale", "" if is_explained else row.why),
        ("Applies to", "" if is_explained else str(row.applies)),
        ("Provided by", descriptions.provider(row)),
        ("Remediation", remediation.text(row.repair) if row.repair else ""),
        ("Differences to kube-bench", "\n".join(dict.fromkeys(_differences(row)))),
        ("Source", row.source),
    ]
    return _paragraphs(parts)


def _with_cluster(row: BenchmarkControl) -> str:
    from agent.checks.cluster.rules import RULES

    return RULES[row.check.rule].description if isinstance(row.check, ClusterCheck) else ""


def _differences(row: BenchmarkControl) -> Iterator[str]:
    for difference in DIFFERENCES[row.id]:
        yield f"{descriptions.span(difference.benchmarks)}: {difference.note or difference.reason.value}"


def _finding(kind: FindingKind) -> str:
    head, *rest = [" ".join(paragraph.split()) for paragraph in kind.explanation.split("\n\n")]
    parts = [
        ("", f"{kind.id} ({kind.level})"),
        ("Description", head),
        ("Details", "\n".join(rest)),
        ("Blocks the gate", str(kind.blocks_gate)),
        ("Prevents K3s from starting", str(kind.prevents_start)),
        ("Remediation", REMEDIATIONS[kind.id]),
    ]
    return _paragraphs(parts)


def _paragraphs(parts: Iterable[tuple[str, str]]) -> str:
    lines: list[str] = []
    for label, text in parts:
        if not label:
            lines.append(text)
        elif label == _AS_IT_IS:
            lines += [label, f"  {text}"]
        elif text:
            lines += [label, *(line for paragraph in text.splitlines() for line in _wrapped(paragraph))]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(paragraph: str) -> list[str]:
    return textwrap.wrap(
        paragraph, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
