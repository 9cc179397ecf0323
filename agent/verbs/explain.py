"""Explanations of controls, findings and settings for `explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Union

from agent.assess.benchmark import catalogue
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.base.errors import ExitCode, UsageError
from agent.base.repair import RunVerb
from agent.findings import KINDS
from agent.findings.registry import FindingKind
from agent.harden.guide.controls import CONTROLS
from agent.harden.guide.guide_row import GuideControl, Origin
from agent.harden.settings import schema as settings
from agent.harden.settings.profiles import PRESETS, risks
from agent.harden.settings.schema import Profile, SettingRow
from agent.reports.text import WIDEST, printable, two_columns, wrapped
from agent.verbs.topics import (
    EXIT_CODES,
    FINDINGS,
    PROFILES,
    SETTINGS,
    containing,
    named,
    related,
    similar,
    summary,
)

_Parts = list[tuple[str, Union[str, list[tuple[str, str]]]]]
"""Labels, each with its text or with rows of names and texts; paragraphs are lines."""

_UNLIMITED = 1_000
_EXAMPLES = (
    ("benchmark", "cis-1.9"),
    ("number", "cis-1.9/1.2.16"),
    ("path", "/srv/k3s/server/audit.yaml"),
    ("argument", "anonymous-auth"),
    ("profile", PROFILES[0]),
    ("settings", SETTINGS),
    ("findings", FINDINGS),
    ("codes", EXIT_CODES),
)
_INDENT = "  "
_FINDINGS = "Findings of `check`"
_BY_HAND = "By hand"
_PREVIEW = "Command"
_EXAMPLE = "Example"
"""A command that is not wrapped, because it is pasted."""
_PROFILE = (
    f"`profile: {{}}` in {settings.DEFAULT_SETTINGS} has the effect of the settings below. A setting in that file"
    " overrides the profile, also to turn one off. On a host to which a setting does not apply, it has no effect."
)
_COMMANDS = ("sudo ", "k3s-harden ")
"""The start of manual steps that are a command. It is not wrapped, so that it can be pasted."""


def listed(columns: int = 0) -> str:
    """Return all IDs with their titles, for a terminal of `columns`; one line each for 0, which is no terminal."""
    width = columns or _UNLIMITED
    of_the_guide = {control.id: control.title for control in CONTROLS}
    beyond = {row.id: row.title for row in catalogue.all_controls() if row.id not in of_the_guide}
    parts = (
        ("Controls of the guide", list(of_the_guide.items())),
        (_FINDINGS, _all_findings()),
        ("Other benchmark controls of `assess`", list(beyond.items())),
    )
    widest = max(len(name) for _, pairs in parts for name, _ in pairs)
    lines: list[str] = []
    for heading, pairs in parts:
        lines += [heading, *two_columns([(f"{name:{widest}}", title) for name, title in pairs], width), ""]
    lines += ["Other topics", *(f"  {what:9}  k3s-harden explain {topic}" for what, topic in _EXAMPLES)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def explained(text: str, columns: int = 0) -> str:
    """Return the explanation of the topic that a text names, or a list if it names several.

    `columns` is the width of the terminal, 0 if there is none. Raises UsageError if the text names no topic.
    """
    width = min(columns or WIDEST, WIDEST)
    found = named(text) or containing(text)
    if len(found) > 1:
        head = wrapped(f"{printable(text)} matches {len(found)} topics:", width)
        return _joined([*head, *two_columns(list(found), width), f"Next: k3s-harden explain {found[0].name}"])
    if found:
        return "\n".join(_joined(_lines(parts, width)) for parts in _explanations(found[0].name))
    close = similar(text)
    name = printable(text) or "an empty text"
    raise UsageError(
        f"cannot explain {name}: no control, finding or setting has this name, number or path",
        f"did you mean {' or '.join(close)}?" if close else RunVerb("explain"),
    )


def origin_in_words(origin: Origin) -> str:
    """Return the heading of the guide and the CIS numbers of a control."""
    numbers = f" (CIS {', '.join(origin.cis)})" if origin.cis else ""
    return f"“{origin.heading}”{numbers}" + (f"; beyond the guide: {origin.beyond}" if origin.beyond else "")


def _explanations(name: str) -> Iterator[_Parts]:
    """Yield the entries of the guide, one for each version range, then those of the benchmarks, and the others."""
    of_the_guide = [control for control in CONTROLS if control.id == name]
    of_benchmarks = [row for row in catalogue.all_controls() if row.id == name]
    yield from map(_control, of_the_guide)
    yield from map(_row, of_benchmarks)
    if name in KINDS:
        yield _finding(KINDS[name])
    if name == SETTINGS:
        yield from _settings()
    if name == FINDINGS:
        yield [(_FINDINGS, _all_findings())]
    if name == EXIT_CODES:
        yield [("Exit codes", [(f"{int(code)}", code.meaning) for code in ExitCode])]
    if name in PROFILES:
        yield from _profile(Profile(name))
    for setting in settings.setting_rows():
        if setting.key == name:
            yield _setting(setting, is_first=not (of_the_guide or of_benchmarks))
    others = related(name)
    if others:
        yield [("Related", list(others))]


def _all_findings() -> list[tuple[str, str]]:
    """Return the ID of each finding with its level and summary."""
    return [(kind.id, f"{kind.level}: {summary(kind.explanation)}") for kind in KINDS.values()]


def _settings() -> Iterator[_Parts]:
    """Yield all settings with their allowed values, and an example."""
    rows: _Parts = [("", f"Settings in {settings.DEFAULT_SETTINGS}; all are optional.")]
    for row in settings.setting_rows():
        breaks = f"\nCan break: {risks()[row.key].breaks}" if row.key in risks() else ""
        text = f"{row.description} Allowed: {row.kind.allowed}. Default: {row.default}.{breaks}"
        rows.append((row.key, text))
    yield rows
    yield [("", f"Example with all settings\n{textwrap.indent(settings.example_settings(), '  ')}".rstrip())]


def _setting(row: SettingRow, *, is_first: bool) -> _Parts:
    head = f"{row.key}: a setting in {settings.DEFAULT_SETTINGS}"
    return [
        ("", head if is_first else f"Setting in {settings.DEFAULT_SETTINGS}"),
        ("Description", row.description),
        ("Allowed", row.kind.allowed),
        ("Default", row.default),
        ("Applies to", str(row.applies)),
        (_EXAMPLE, textwrap.dedent(f"{row.key}: {row.example}") if "." not in row.key else row.line),
        *_risk(row.key),
    ]


def _profile(profile: Profile) -> Iterator[_Parts]:
    """Yield the settings of a profile, each with its risk and how to check for it."""
    yield [("", f"profile: {profile}"), ("Description", _PROFILE.format(profile))]
    for preset in PRESETS[profile]:
        yield [
            ("", f"{preset.setting}: {preset.value}"),
            ("Description", preset.row.description),
            ("Applies to", str(preset.row.applies)),
            *_risk(preset.setting),
        ]


def _risk(setting: str) -> _Parts:
    """Return the risk of a setting, and how to check for it."""
    if setting not in risks():
        return []
    risk = risks()[setting]
    return [("Can break", risk.breaks), ("Before you set it", risk.preview), (_PREVIEW, risk.command)]


def _control(control: GuideControl) -> _Parts:
    return [
        ("", f"{control.id}: {control.title}"),
        ("Rationale", control.why),
        ("Applies to", str(control.applies)),
        ("In the guide", origin_in_words(control.origin)),
        ("Differs from the guide", control.deviation),
        ("Can break", control.risk),
        (_BY_HAND, control.by_hand),
    ]


def _row(row: BenchmarkControl) -> _Parts:
    """Return a benchmark control, without what the entry of the guide already has."""
    from agent.assess.checks.cluster.cluster_check import cluster_rules

    is_explained = row.guide is not None and row.guide.id == row.id
    return [
        ("", "In the benchmarks" if is_explained else f"{row.id}: {row.title}"),
        ("Numbers", catalogue.numbers_by_benchmark(row) or "none"),
        ("References", _references(row.id)),
        ("Expected", row.check.description),
        ("With --cluster", cluster_rules()[row.check.rule].description if isinstance(row.check, ClusterCheck) else ""),
        *((f"Expected in {span}", text) for text, span in catalogue.earlier_requirements(row)),
        ("Rationale", "" if is_explained else row.why),
        ("Applies to", "" if is_explained else str(row.applies)),
        ("Provided by", catalogue.provider(row)),
        *_risk(row.setting),
        ("Before a change", row.caution),
        ("Source", row.source),
    ]


def _references(control: str) -> str:
    from agent.assess.frameworks import Framework
    from agent.assess.frameworks.references import references_of

    found = zip(Framework, references_of(control))
    return "\n".join(f"{framework.full_name}: {', '.join(names)}" for framework, names in found if names)


def _finding(kind: FindingKind) -> _Parts:
    head, *rest = [" ".join(paragraph.split()) for paragraph in kind.explanation.split("\n\n")]
    return [
        ("", f"{kind.id} ({kind.level})"),
        ("Description", head),
        ("Details", "\n".join(rest)),
        ("The gate blocks K3s", str(kind.blocks_gate)),
        ("Prevents K3s from starting", str(kind.prevents_start)),
        ("Remediation", kind.repair),
    ]


def _lines(parts: _Parts, width: int) -> Iterator[str]:
    """Yield each label, and its text or rows below it; a text without a label as it is."""
    for label, text in parts:
        if not label and isinstance(text, str):
            yield from text.splitlines() if "\n" in text else wrapped(text, width, hanging=_INDENT)
        elif text:
            yield label
            if not isinstance(text, str):
                yield from two_columns(text, width)
                continue
            for paragraph in text.splitlines():
                if label in (_PREVIEW, _EXAMPLE):
                    yield f"{_INDENT}{paragraph}".rstrip()
                else:
                    yield from _command(paragraph, width) if label == _BY_HAND else wrapped(paragraph, width, _INDENT)


def _command(text: str, width: int) -> Iterator[str]:
    """Yield the steps by hand: a command on a line of its own, whatever its length, and then the rest."""
    command, then, rest = text.partition("; then ")
    if not text.startswith(_COMMANDS):
        yield from wrapped(text, width, _INDENT)
        return
    yield f"{_INDENT}{command}"
    if then:
        yield from wrapped(f"then {rest}", width, _INDENT)


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
