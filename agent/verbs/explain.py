"""What `explain` prints: controls from the rows of the guide and of the benchmarks, findings from their own words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from agent.benchmark import catalogue, words
from agent.benchmark.kube_bench import DIFFERENCES
from agent.errors import UsageError
from agent.findings import KINDS
from agent.guide.controls import CONTROLS
from agent.settings import schema as settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.benchmark.control import BenchmarkControl
    from agent.findings.registry import Kind
    from agent.guide.control import Control, Origin

SETTINGS = "settings"
"""What `explain` takes in addition to ids and numbers."""

_WIDTH = 100
_AS_IT_IS = "By hand"
"""Has commands in it, which a line break would spoil for whoever copies them."""


def listed() -> str:
    """All ids, a line each."""
    of_the_guide = {control.id: control.title for control in CONTROLS}
    beyond = {row.id: row.title for row in catalogue.CATALOGUE if row.id not in of_the_guide}
    widest = max(map(len, (*KINDS, *of_the_guide, *beyond)))
    lines = ["Controls: what the guide asks for"]
    lines += [f"  {name:{widest}}  {title}" for name, title in of_the_guide.items()]
    lines += ["", "Findings: what else `check` can find"]
    lines += [f"  {kind.id:{widest}}  {kind.level}: {summary(kind)}" for kind in KINDS.values()]
    lines += ["", "More controls: what benchmarks ask and `assess` looks at"]
    lines += [f"  {name:{widest}}  {title}" for name, title in beyond.items()]
    lines += ["", "By its number: k3s-harden explain 1.2.16, or cis-1.9/1.2.16 for that of one benchmark"]
    lines += [f"Settings: k3s-harden explain {SETTINGS}"]
    return "".join(f"{line}\n" for line in lines)


def explained(name: str) -> str:
    """All there is to say of a control, by its id or number, or of a finding. Raises UsageError if it is neither."""
    rows = catalogue.named(name)
    # A number can name several controls, an id of the guide one that no benchmark has.
    controls = [text for one in {name: None, **{row.id: None for row in rows}} for text in _controls(one, rows)]
    if controls:
        return "\n".join(controls)
    if name in KINDS:
        return _finding(KINDS[name])
    if name == SETTINGS:
        return _settings()
    close = _close(name)
    raise UsageError(
        f"cannot explain {name}: no control and no finding has that id or number",
        f"did you mean {' or '.join(close)}?" if close else "k3s-harden explain lists them",
    )


def _close(name: str) -> list[str]:
    """The ids that were perhaps meant."""
    import difflib

    ids = (*(control.id for control in CONTROLS), *KINDS, *(row.id for row in catalogue.CATALOGUE))
    known = list(dict.fromkeys(ids))
    # A part of an id is the likelier mistake ("psa", "maxage"); a misspelling comes second.
    return [one for one in known if name and name in one][:3] or difflib.get_close_matches(name, known)


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
    parts += [
        (row.key, f"{row.description} Allowed: {row.kind.allowed}. Default: {row.default}.") for row in settings.rows()
    ]
    return f"{_paragraphs(parts)}An example with everything in it\n{textwrap.indent(settings.EXAMPLE, '  ')}"


def _controls(name: str, rows: Iterable[BenchmarkControl]) -> Iterator[str]:
    """The guide's entries of an id, one for each range of versions, and then the benchmarks' own."""
    yield from (_control(control) for control in CONTROLS if control.id == name)
    yield from (_row(row) for row in rows if row.id == name)


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


def _row(row: BenchmarkControl) -> str:
    """A control as the benchmarks have it; what the guide's own entry says is not said again."""
    is_explained = row.guide is not None and row.guide.id == row.id
    parts = [
        ("", "As benchmarks have it" if is_explained else f"{row.id}: {row.title}"),
        ("Number", words.numbers(row) or "none; no benchmark asks for it"),
        ("Wanted", words.asked(row.check)),
        *((f"Wanted in {span}", text) for text, span in words.asked_earlier(row)),
        ("Why", "" if is_explained else row.why),
        ("For", "" if is_explained else str(row.applies)),
        ("Brought about by", words.brought_about_by(row)),
        ("To repair", row.repair),
        ("Where kube-bench can say something else", "\n".join(_differences(row))),
        ("Source", row.source),
    ]
    return _paragraphs(parts)


def _differences(row: BenchmarkControl) -> Iterator[str]:
    for difference in DIFFERENCES[row.id]:
        yield f"{words.span(difference.benchmarks)}: {difference.note or difference.reason.value}"


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
            lines += [label, *(line for paragraph in text.splitlines() for line in _wrapped(paragraph))]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(paragraph: str) -> list[str]:
    return textwrap.wrap(
        paragraph,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
