"""A control of the benchmarks: its numbers, texts and source, from controls.tsv, and its check."""

from __future__ import annotations

from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.assess.benchmark.versions import Benchmark
from agent.base import package_data
from agent.base.model import Applies, Instruction, Location, Remediation, Restart
from agent.base.value import Row, replace
from agent.k3s.paths import K3S_CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.assess.checks.check import Check
    from agent.base.model import Component
    from agent.harden.guide.control import GuideControl

_NAMES = frozenset({"Kubernetes", "Windows"})

_BENCHMARKS = tuple(Benchmark)
_NO_VALUE = "-"
"""In a cell of controls.tsv."""


class Assessed(str, Enum):
    """How a benchmark assesses a control; the letters are those of `numbered`."""

    AUTOMATED = "A"
    """By a program; the result counts."""
    UNSCORED = "u"
    """By a program; a failure is a warning (kube-bench: `scored: false`)."""
    MANUAL = "M"
    """By a person (kube-bench: `type: manual`; in the self-assessments: "(Manual)")."""
    SKIPPED = "S"
    """Not on K3s (kube-bench: `type: skip`; in the self-assessments: "Not Applicable")."""


class Number(NamedTuple):
    """The number that one benchmark gives a control, such as 1.2.16, and how it assesses the control."""

    text: str
    assessed: Assessed

    @property
    def section(self) -> str:
        """The number of its section: all but the last part."""
        return self.text.rpartition(".")[0]


_NOTHING: Mapping[Benchmark, Any] = MappingProxyType({})


class BenchmarkControl(Row):
    """One requirement of the benchmarks on a node, keyed by its subject: numbers change between versions."""

    id: str
    """Stable, and named after the subject ("apiserver-anonymous-auth"); the guide's id if the guide has the control."""
    title: str
    """The compliant state, as a sentence without its period."""
    check: Check
    why: str
    """The rationale, for the reader of a report."""
    source: str
    """The upstream file that determines the state on K3s."""
    numbers: Mapping[Benchmark, Number] = _NOTHING
    """Empty if no benchmark has the control."""
    level: int = 1
    """The level of CIS. Controls of level 2 can disable functions."""
    applies: Applies = Applies()
    earlier: Mapping[Benchmark, Check] = _NOTHING
    """What some benchmarks require instead of `check`."""
    caution: str = ""
    """What to do before any remediation, in the imperative and without its period."""
    needed_by_hand: str = ""
    """An additional step of a fix by hand, which the setting includes. In the form of `caution`."""
    remediation: Remediation | None = None
    """The fix by hand; None if it follows from the check."""
    guide: GuideControl | None = None
    """The guide's control that `apply` implements."""
    setting: str = ""
    """The key of the settings that makes `apply` implement the control."""

    def check_of(self, benchmark: Benchmark) -> Check:
        """Return what this benchmark requires."""
        return self.earlier.get(benchmark, self.check)

    @property
    def repair(self) -> Remediation | None:
        """The fix by hand, after its caution; None if it follows from the check."""
        before = tuple(map(Instruction, filter(None, (self.caution, self.needed_by_hand))))
        own = self.remediation or Remediation()
        return replace(own, steps=(*before, *own.steps)) if before else self.remediation

    @property
    def recommendation(self) -> str:
        """The title as CIS writes titles: "Ensure that", and the arguments and keys that are checked in brackets."""
        first, _, rest = self.title.partition(" ")
        names = ", ".join(dict.fromkeys(self.check.names))
        return f"Ensure that {first if _is_a_name(first) else first.lower()} {rest}" + (f" ({names})" if names else "")


def benchmark_control(  # noqa: PLR0913 - what decides
    id_: str,
    check: Check,
    *,
    applies: Applies = Applies(),
    earlier: Mapping[Benchmark, Check] = _NOTHING,
    caution: str = "",
    needed_by_hand: str = "",
    remediation: Remediation | None = None,
    guide: GuideControl | None = None,
    setting: str = "",
) -> BenchmarkControl:
    """Return the control with this line of controls.tsv; a line without texts has those of `guide`."""
    level, *numbers, title, why, source = _table()[id_]
    return BenchmarkControl(
        id_,
        guide.title if guide and title == _NO_VALUE else title,
        check,
        guide.why if guide and why == _NO_VALUE else why,
        source,
        numbered(" ".join(numbers)),
        int(level),
        applies,
        earlier,
        caution,
        needed_by_hand,
        remediation,
        guide,
        setting,
    )


@cache
def _table() -> dict[str, list[str]]:
    """Return the other columns of controls.tsv by the ID of the control."""
    return {name: cells for name, *cells in package_data.rows("assess", "benchmark", "controls.tsv")}


def in_k3s_config(text: str) -> Remediation:
    """Return an edit of K3s' main configuration file, which takes effect when K3s restarts."""
    return Remediation((Instruction(text, Location(K3S_CONFIG_FILE)),), restart=Restart.K3S)


def removed(component: Component, *names: str, default: str, elsewhere: str = "") -> Remediation:
    """Return the removal of arguments from K3s' configuration, and from `elsewhere`; `default` is what applies then."""
    arguments = " and ".join(f"`{name}`" for name in names)
    text = (
        f"remove {arguments} from the list `{component.config_key}` in K3s' configuration{elsewhere}, because {default}"
    )
    return Remediation((Instruction(text),), restart=Restart.K3S)


def _is_a_name(word: str) -> bool:
    """Return whether a word keeps its capital within a sentence."""
    return word in _NAMES or any(letter.isupper() or letter.isdigit() for letter in word[1:])


def numbered(row: str) -> Mapping[Benchmark, Number]:
    """Parse a control's numbers, one word for each benchmark, oldest first: "1.2.19u"; "-" for none."""
    words = row.split()
    if len(words) != len(_BENCHMARKS):
        raise ValueError(f"expected a number for each of {len(_BENCHMARKS)} benchmarks: {row}")
    return {benchmark: _number(word) for benchmark, word in zip(_BENCHMARKS, words) if word != _NO_VALUE}


@cache
def _number(word: str) -> Number:
    """Parse one number. Most controls have the same number in several benchmarks."""
    return Number(word[:-1], Assessed(word[-1]))
