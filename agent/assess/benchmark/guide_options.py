"""Controls that the guide also has, as K3s options: id, texts and criterion are those of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.benchmark.control import benchmark_control
from agent.assess.checks.arguments import ArgumentCheck
from agent.base.model import Applies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.assess.benchmark.control import BenchmarkControl
    from agent.base.model import Component
    from agent.harden.guide.criteria import Criterion
    from agent.harden.guide.k3s_options import OptionRow
    from agent.k3s.cis.versions import Benchmark


def of_the_guide(
    component: Component,
    row: OptionRow,
    *,
    earlier: Mapping[Benchmark, Criterion] | None = None,
) -> BenchmarkControl:
    """Return the control of the component argument that a row of the guide sets, for the row's roles.

    It applies to all versions, also if the guide does not set the argument there. `earlier` has the criteria of
    benchmarks whose requirement differs from the guide's.
    """
    name = row.name or row.key

    def flag(criterion: Criterion) -> ArgumentCheck:
        return ArgumentCheck(component, name, criterion, row.unset_complies)

    return benchmark_control(
        row.id,
        flag(row.meets),
        applies=Applies(row.applies.roles),
        earlier={benchmark: flag(criterion) for benchmark, criterion in (earlier or {}).items()},
        guide=row,
    )
