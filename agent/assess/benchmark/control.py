"""A control: its check, and its texts, severity and source from the table beside the module of the check."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from agent.assess.checks.check import Check
from agent.base import package_data
from agent.base.model import StrEnum
from agent.base.value import Row, Value
from agent.harden.guide.guide_row import GuideControl
from agent.k3s.cis.versions import Benchmark, Number, Numbers
from agent.k3s.roles_and_versions import Applies

_NAMES = frozenset({"Kubernetes", "Windows"})

_TABLES = ("cluster_policies", "component_files", "component_settings", "outside_benchmarks")
"""The modules with controls. Each has a table beside it, such as component_files.txt."""

_NOTHING: Mapping[Benchmark, Any] = MappingProxyType({})


class Severity(StrEnum):
    """What an attacker gains while a control is open, the most serious step first."""

    CRITICAL = "critical"  # the node or the cluster, without credentials or for any local user
    HIGH = "high"  # the same with one credential, foothold or mistake of somebody else
    MEDIUM = "medium"  # a larger effect, or fewer traces, of an attack that succeeds by other means
    LOW = "low"


class Rating(Value):
    """The severity of a control."""

    severity: Severity
    reason: str


@cache
def ratings() -> dict[str, Rating]:
    """Return the ratings by severity and risk, such as "high pod-breakout"."""
    table = package_data.rows("assess", "benchmark", "severities.tsv")
    return {f"{severity} {risk}": Rating(Severity(severity), reason) for severity, risk, reason in table}


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
    rating: Rating
    numbers: Mapping[Benchmark, Number] = _NOTHING
    """Empty if no benchmark has the control."""
    level: int = 1
    """The level of CIS. Controls of level 2 can disable functions."""
    applies: Applies = Applies()
    earlier: Mapping[Benchmark, Check] = _NOTHING
    """What some benchmarks require instead of `check`."""
    caution: str = ""
    """What to find out before a remediation, because it can break it: in the imperative, without the final period."""
    guide: GuideControl | None = None
    """The guide's control that `apply` implements."""

    @property
    def setting(self) -> str:
        """The key of the settings that makes `apply` implement the control; empty if there is none."""
        return self.check.setting

    def check_of(self, benchmark: Benchmark) -> Check:
        """Return what this benchmark requires."""
        return self.earlier.get(benchmark, self.check)

    @property
    def recommendation(self) -> str:
        """The title as CIS writes titles: "Ensure that", and the arguments and keys that are checked in brackets."""
        first, _, rest = self.title.partition(" ")
        is_a_name = first in _NAMES or any(letter.isupper() or letter.isdigit() for letter in first[1:])
        names = ", ".join(dict.fromkeys(self.check.names))
        return f"Ensure that {first if is_a_name else first.lower()} {rest}" + (f" ({names})" if names else "")


def benchmark_control(  # noqa: PLR0913 - what decides
    id_: str,
    check: Check,
    *,
    applies: Applies = Applies(),
    earlier: Mapping[Benchmark, Check] = _NOTHING,
    caution: str = "",
    guide: GuideControl | None = None,
    texts: GuideControl | None = None,
) -> BenchmarkControl:
    """Return the control with this ID; a row without a title or rationale has that of `texts`, which is `guide`."""
    row = _rows()[id_]
    texts = texts or guide
    return BenchmarkControl(
        id_,
        row["title"] if texts is None else row.get("title", texts.title),
        check,
        row["rationale"] if texts is None else row.get("rationale", texts.why),
        row["source"],
        ratings()[row["severity"]],
        Numbers(id_),
        int(row.get("level", "1")),
        applies,
        earlier,
        caution,
        guide,
    )


@cache
def rows_of(table: str) -> dict[str, dict[str, str]]:
    """Return the rows of a table by the ID of the control."""
    return {row["control"]: row for row in package_data.records("assess", "benchmark", f"{table}.txt")}


@cache
def _rows() -> dict[str, dict[str, str]]:
    # Their texts are the guide's.
    parameters = package_data.records("k3s", "cis", "kernel_parameters.txt")
    rated = {row["control"]: {name: row[name] for name in ("severity", "source")} for row in parameters}
    return {**rated, **{name: row for table in _TABLES for name, row in rows_of(table).items()}}
