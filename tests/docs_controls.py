"""The pages about controls: what the guide asks, what the benchmarks ask, and where kube-bench says something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.benchmark import catalogue, descriptions
from agent.benchmark.beyond import BEYOND
from agent.benchmark.kube_bench import DIFFERENCES, PROFILED, Reason, runs
from agent.benchmark.sections import SECTIONS
from agent.benchmark.versions import FITS, Benchmark
from agent.checks.manual import Manual, NotInK3s
from agent.guide import headings
from agent.guide.controls import CONTROLS
from agent.guide.files import DirectoryRow, FileRow
from agent.guide.k3s_options import OptionRow
from agent.guide.sysctls import SysctlRow
from agent.present import remediation
from agent.verbs.explain import origin_in_words
from tests.markdown import anchor, escaped, generated, page, prose, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.benchmark.control import BenchmarkControl, Number
    from agent.benchmark.kube_bench import Difference
    from agent.guide.control import Control

_GUIDE_PAGE = "guide-controls.md"
_CONTROLS_PAGE = "../reference/controls.md"
_KUBE_BENCH_PAGE = "../explanation/kube-bench.md"


def guide_controls() -> str:
    """docs/reference/guide-controls.md."""
    parts = [
        "# What the guide asks for",
        generated("agent/guide"),
        prose("""
            Everything that the guide asks of a host, one entry a fact, in the order of the guide's headings;
            `k3s-harden explain ID` prints the same in a terminal. The CIS numbers are those that the guide gives:
            they move between versions of the benchmark, and [controls.md](controls.md) has all of them. Where an entry
            differs from the guide, it says so; [deviations.md](../explanation/deviations.md) has the reasons at length.
        """),
        table(
            ("id", "what", "for", "CIS"),
            ((f"[`{c.id}`](#{_anchor(c)})", c.title, str(c.applies), ", ".join(c.origin.cis)) for c in CONTROLS),
        ),
    ]
    for heading in headings.IN_ORDER:
        parts.append(f"## {heading}")
        for control in CONTROLS:
            if control.origin.heading == heading:
                parts += [f"### {_heading(control)}", _of_the_guide(control)]
    return page(parts)


def controls() -> str:
    """docs/reference/controls.md."""
    found = catalogue.CATALOGUE
    parts = [
        "# Controls",
        generated("agent/benchmark"),
        prose(f"""
            All {len(found)} controls that `k3s-harden assess` knows, one entry each, whatever number a benchmark gives
            it. {sum(map(_is_host_checkable, found))} of them can be answered by a look at the host;
            the others are for a person, or K3s has nothing of the kind. `k3s-harden explain ID` prints an entry in a
            terminal, and takes a number as well: `k3s-harden explain cis-1.9/1.2.16`.
        """),
        prose("""
            A mode is stricter than another if it has some of the other's bits and no bit beyond them. Numbers without
            a word beside them are automated in that benchmark.
        """),
        _benchmarks(),
        prose("""
            They stand in the section that their newest benchmark has them in: a number is of the newest benchmark
            unless another one is named.
        """),
        *_sections(),
    ]
    return page(parts)


def kube_bench() -> str:
    """docs/explanation/kube-bench.md."""
    parts = [
        "# Beside kube-bench",
        generated("agent/benchmark/kube_bench.py"),
        prose(f"""
            `k3s-harden assess` and [kube-bench](https://github.com/aquasecurity/kube-bench) look at the same controls,
            and kube-bench has profiles for {len(PROFILED)} of the {len(Benchmark)} benchmarks. This page says, control
            by control, where the two can say something else of the same node, and why. Where a line has no reason they
            agree.
        """),
        prose("""
            It cannot lie for long: a test holds both to nodes in many states (new, hardened, each file and each
            argument wrong in turn, the journal gone, the data elsewhere), with kube-bench's side played by a model of
            its profiles and of its rules for comparing. Nothing may differ without its reason here, and each reason
            has to be seen on a node. The model was made by reading kube-bench; it is not kube-bench itself.
        """),
        prose("""
            Two statuses are the same where kube-bench would print the same word: PASS is PASS, MANUAL is WARN, FAIL and
            UNKNOWN are FAIL, or WARN where its profile does not score the check, NOT_APPLICABLE and WAIVED are INFO.
        """),
        "## Reasons",
        table(("reason", "is"), ((_label(reason), reason.value) for reason in Reason)),
        *_profiles(),
        "## What kube-bench does not look at",
        prose("""
            No benchmark asks for these, and a node without them is not what the guide wants, or does not start K3s at
            all.
        """),
        _bullets(f"{_link(control, _CONTROLS_PAGE)}: {prose(control.title)}" for control in BEYOND),
    ]
    return page(parts)


def _of_the_guide(control: Control) -> str:
    return _entry(
        f"**{escaped(control.title)}.** For {control.applies}.",
        [
            ("Wanted", _wanted(control)),
            ("Why", prose(control.why)),
            ("In the guide", prose(origin_in_words(control.origin))),
            ("Differs from the guide", prose(control.deviation)),
            ("Can break", prose(control.risk)),
            ("By hand", prose(control.by_hand)),
        ],
    )


def _wanted(control: Control) -> str:
    if isinstance(control, SysctlRow):
        return f"`{control.key} = {control.value}`" + ("" if control.written else ", compared and never changed")
    if isinstance(control, (DirectoryRow, FileRow)):
        return f"`{_path(control)}`, mode {control.mode}, owner root"
    if isinstance(control, OptionRow):
        value = f"{control.name}={control.value}" if control.name else control.value
        return f"`{control.key}: {value}`; of a value that is there already: {escaped(str(control.meets))}"
    return ""


def _heading(control: Control) -> str:
    alike = [other for other in CONTROLS if other.id == control.id]
    return f"`{control.id}`" + (f" ({control.applies.versions})" if len(alike) > 1 else "")


def _anchor(control: Control) -> str:
    return anchor(_heading(control))


def _path(row: DirectoryRow | FileRow) -> str:
    return str(row.path) if row.path.is_absolute() else f"D/{row.path}"


def _benchmarks() -> str:
    rows = (
        (f"`{one}`", str(FITS[one]), f"`{one.kube_bench_profile}`" if one.kube_bench_profile else "none")
        for one in Benchmark
    )
    return table(("benchmark", "K3s", "kube-bench's profile"), rows)


def _sections() -> Iterator[str]:
    by_section: dict[str, list[BenchmarkControl]] = {}
    for control in catalogue.CATALOGUE:
        _, number = _newest(control)
        by_section.setdefault(f"{number.section} {SECTIONS[number.section]}" if number else SECTIONS[""], []).append(
            control
        )
    for section, inside in by_section.items():
        yield f"## {section}"
        yield table(("number", "control", "what", "level"), map(_row, inside))
        for control in inside:
            yield f"### `{control.id}`"
            yield _of_a_benchmark(control)


def _row(control: BenchmarkControl) -> tuple[str, str, str, str]:
    benchmark, number = _newest(control)
    if not number:
        return "", _link(control, ""), control.title, ""
    text = number.text if benchmark is list(Benchmark)[-1] else f"{number.text} in {benchmark}"
    return text, _link(control, ""), control.title, str(control.level)


def _newest(control: BenchmarkControl) -> tuple[Benchmark | None, Number | None]:
    return list(control.numbers.items())[-1] if control.numbers else (None, None)


def _of_a_benchmark(control: BenchmarkControl) -> str:
    guide = control.guide
    level = f" Level {control.level}." if control.numbers else ""
    return _entry(
        f"**{escaped(control.title)}.** For {control.applies}.{level}",
        [
            ("Number", descriptions.numbers(control) or "none; no benchmark asks for it"),
            ("Wanted", prose(control.check.description)),
            *((f"Wanted in {span}", prose(text)) for text, span in descriptions.earlier(control)),
            ("Why", prose(control.why)),
            ("Brought about by", prose(descriptions.provider(control))),
            ("In the guide", f"[`{guide.id}`]({_GUIDE_PAGE}#{_anchor(guide)})" if guide else ""),
            ("To repair", prose(remediation.text(control.repair) if control.repair else "")),
            ("kube-bench", f"can [say something else]({_KUBE_BENCH_PAGE})" if DIFFERENCES[control.id] else ""),
            ("Source", f"`{control.source}`"),
        ],
    )


def _profiles() -> Iterator[str]:
    for benchmark in PROFILED:
        yield f"## {benchmark.kube_bench_profile}"
        inside = [control for control in catalogue.of(benchmark) if benchmark in control.numbers]
        alike = sum(not _differences(control, benchmark) for control in inside)
        yield f"{len(inside)} controls; of {alike} both say the same wherever they look."
        yield table(
            ("number", "control", "kube-bench", "can differ"),
            (
                (
                    control.numbers[benchmark].text,
                    _link(control, _CONTROLS_PAGE),
                    "runs it" if runs(control, benchmark) else "does not run it",
                    _in_short(control, benchmark),
                )
                for control in inside
            ),
        )


def _is_host_checkable(control: BenchmarkControl) -> bool:
    return not isinstance(control.check, (Manual, NotInK3s))


def _differences(control: BenchmarkControl, benchmark: Benchmark) -> tuple[Difference, ...]:
    return tuple(one for one in DIFFERENCES[control.id] if benchmark in one.benchmarks)


def _label(reason: Reason) -> str:
    return reason.name.lower().replace("_", " ")


def _in_short(control: BenchmarkControl, benchmark: Benchmark) -> str:
    found = _differences(control, benchmark)
    labels = ", ".join(_label(one.reason) for one in found if not one.note)
    notes = (f"{_label(one.reason)} ({one.note.removesuffix('.')})" for one in found if one.note)
    return "; ".join((*([labels] if labels else []), *notes))


def _link(control: BenchmarkControl, where: str) -> str:
    return f"[`{control.id}`]({where}#{anchor(f'`{control.id}`')})"


def _entry(head: str, facts: Iterable[tuple[str, str]]) -> str:
    return f"{head}\n\n{_bullets(f'**{label}:** {text}' for label, text in facts if text)}"


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
