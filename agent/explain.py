"""What `explain` prints: controls from the guide's rows, findings from their own words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from agent import settings
from agent.errors import UsageError
from agent.findings import KINDS
from agent.guide.controls import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.findings.registry import Kind
    from agent.guide.control import Control, Origin

SETTINGS = "settings"
"""The one word beside the ids."""

_WIDTH = 100
_AS_IT_IS = "By hand"
"""Has commands in it, which a line break would spoil for whoever copies them."""


def listed() -> str:
    """All ids, a line each."""
    widest = max(map(len, (*KINDS, *(control.id for control in CONTROLS))))
    titles = {control.id: control.title for control in CONTROLS}
    lines = ["Controls: what the guide asks for"]
    lines += [f"  {name:{widest}}  {title}" for name, title in titles.items()]
    lines += ["", "Findings: what else `check` can find"]
    lines += [f"  {kind.id:{widest}}  {kind.level}: {summary(kind)}" for kind in KINDS.values()]
    lines += ["", f"Settings: k3s-harden explain {SETTINGS}"]
    return "".join(f"{line}\n" for line in lines)


def explained(name: str) -> str:
    """All there is to say of a control or a finding. Raises UsageError for an id that is neither."""
    controls = [control for control in CONTROLS if control.id == name]
    if controls:
        return "\n".join(map(_control, controls))
    if name in KINDS:
        return _finding(KINDS[name])
    if name == SETTINGS:
        return _settings()
    import difflib

    known = list(dict.fromkeys([*(control.id for control in CONTROLS), *KINDS]))
    # A part of an id is the likelier mistake ("psa", "maxage"); a misspelling comes second.
    close = [one for one in known if name and name in one][:3] or difflib.get_close_matches(name, known)
    raise UsageError(
        f"cannot explain {name}: no control and no finding has that id",
        f"did you mean {' or '.join(close)}?" if close else "k3s-harden explain lists them",
    )


def summary(kind: Kind) -> str:
    """The first sentence of a finding's explanation."""
    return " ".join(kind.explanation.split("\n\n")[0].split())


def origin_in_words(origin: Origin) -> str:
    """Where a control comes from, for people."""
    numbers = f" (CIS {', '.join(origin.cis)})" if origin.cis else ""
    return f"“{origin.heading}”{numbers}" + (f"; beyond the guide: {origin.beyond}" if origin.beyond else "")


def _settings() -> str:
    """Every setting with what is allowed, and a file that uses all of them."""
    parts = [("", f"Settings of a site, in {settings.DEFAULT_SETTINGS}; all are optional.")]
    parts += [(row.key, f"{row.why} Allowed: {row.kind.allowed}. Default: {row.default}.") for row in settings.rows()]
    return f"{_paragraphs(parts)}An example with everything in it\n{textwrap.indent(settings.EXAMPLE, '  ')}"


def _control(control: Control) -> str:
    parts = [
        ("", f"{control.id}: {control.title}"),
        ("Why", control.why),
        ("For", str(control.applies)),
        ("In the guide", origin_in_words(control.origin)),
        ("Differs from the guide", control.deviation),
        ("What it can break", control.risk),
        (_AS_IT_IS, control.by_hand),
    ]
    return _paragraphs(parts)


def _finding(kind: Kind) -> str:
    head, _, rest = kind.explanation.partition("\n\n")
    return _paragraphs([("", f"{kind.id} ({kind.level})"), ("What", head), ("More", rest)])


def _paragraphs(parts: Iterable[tuple[str, str]]) -> str:
    lines: list[str] = []
    for label, text in parts:
        if not label:
            lines.append(text)
        elif label == _AS_IT_IS:
            lines += [label, f"  {text}"]
        elif text:
            body = " ".join(text.split())
            lines += [
                label,
                *textwrap.wrap(
                    body,
                    _WIDTH,
                    initial_indent="  ",
                    subsequent_indent="  ",
                    break_long_words=False,
                    break_on_hyphens=False,
                ),
            ]
    return "".join(f"{line}\n" for line in lines)
