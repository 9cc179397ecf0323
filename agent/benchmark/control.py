"""What each row of the catalogue carries: one control, its number in every benchmark that has it, and its check."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from agent.benchmark.check import AllOf, EncryptionProviders, EtcdSetting, Flag, KernelParameter
from agent.benchmark.versions import Benchmark
from agent.model import Applies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.benchmark.check import Check
    from agent.guide.control import Control


_NAMES = frozenset({"Kubernetes", "Windows"})


class Assessed(str, Enum):
    """How a benchmark has a control assessed; the letters are those of `numbered`."""

    AUTOMATED = "A"
    """By a program, and it counts."""
    UNSCORED = "u"
    """By a program, and a failure is a warning (kube-bench: `scored: false`)."""
    MANUAL = "M"
    """By a person (kube-bench: `type: manual`; in the self-assessments: "(Manual)")."""
    SKIPPED = "S"
    """Not at all on K3s (kube-bench: `type: skip`; in the self-assessments: "Not Applicable")."""


class Number(NamedTuple):
    """The number that one benchmark gives a control, such as 1.2.16, and how it has it assessed."""

    text: str
    assessed: Assessed

    @property
    def section(self) -> str:
        """The number of the section that it is in: all but the last part."""
        return self.text.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenchmarkControl:
    """One thing that benchmarks ask of a node, keyed by what it asks: numbers move from version to version.

    `id` is stable and says what is asked ("apiserver-anonymous-auth"); where the guide has the same control it is the
    guide's id. `numbers` is empty for what no benchmark has. `level` is CIS' own: 1 costs no function, 2 may.
    `earlier` has what some benchmarks want instead of `check`. `guide` is the guide's control that `apply` brings
    about, `setting` the key of the settings that makes it do so. `why` and `remedy` are for the one who reads a report;
    `remedy` is empty where it follows from the check, and `caution` has what to see to before whatever is done about
    it. `source` is the upstream file that decides it on K3s.
    """

    id: str
    title: str
    numbers: Mapping[Benchmark, Number] = field(default_factory=lambda: MappingProxyType({}))
    level: int = 1
    applies: Applies = Applies()
    check: Check
    earlier: Mapping[Benchmark, Check] = field(default_factory=lambda: MappingProxyType({}))
    why: str
    caution: str = ""
    remedy: str = ""
    guide: Control | None = None
    setting: str = ""
    source: str

    def check_of(self, benchmark: Benchmark) -> Check:
        """What this benchmark asks."""
        return self.earlier.get(benchmark, self.check)

    @property
    def repair(self) -> str:
        """What to do, for a reader who knows only the control; empty where it follows from the check."""
        return f"{self.caution} {self.remedy}".strip()

    @property
    def recommendation(self) -> str:
        """What CIS would call it: the title is the state that is wanted, and says nothing of whether it is so.

        CIS' own titles are about arguments and keys, so those that are looked at follow in brackets.
        """
        first, _, rest = self.title.partition(" ")
        names = ", ".join(dict.fromkeys(_looked_at(self.check)))
        return f"Ensure that {first if _is_a_name(first) else first.lower()} {rest}" + (f" ({names})" if names else "")


def _looked_at(check: Check) -> Iterator[str]:
    match check:
        case Flag():
            yield f"--{check.name}"
        case EncryptionProviders():
            yield "--encryption-provider-config"
        case EtcdSetting():
            yield check.key
        case KernelParameter():
            yield check.row.key
        case AllOf():
            for one in check.checks:
                yield from _looked_at(one)
        case _:
            pass  # files, which their titles name


def _is_a_name(word: str) -> bool:
    """Whether a word keeps its capital within a sentence."""
    return word in _NAMES or any(letter.isupper() or letter.isdigit() for letter in word[1:])


def numbered(row: str) -> Mapping[Benchmark, Number]:
    """Read a control's numbers, one word for each benchmark from the oldest on: "1.2.19u" and so on, "-" for none."""
    words = row.split()
    if len(words) != len(Benchmark):
        raise ValueError(f"not a number for each of {len(Benchmark)} benchmarks: {row}")
    return MappingProxyType(
        {
            benchmark: Number(word[:-1], Assessed(word[-1]))
            for benchmark, word in zip(Benchmark, words, strict=True)
            if word != "-"
        }
    )
