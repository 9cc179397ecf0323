"""Controls that the guide has, too, as one of its K3s options: id, words and criterion are those of its row."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.benchmark.control import BenchmarkControl, numbered
from agent.checks.arguments import ArgumentCheck
from agent.model import Applies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.benchmark.versions import Benchmark
    from agent.guide.criteria import Criterion
    from agent.guide.k3s_options import OptionRow
    from agent.model import Component


def of_the_guide(  # noqa: PLR0913 - a row is this wide, and the calls name its fields
    row: OptionRow,
    component: Component,
    numbers: str,
    *,
    source: str,
    unset_passes: bool = False,
    earlier: Mapping[Benchmark, Criterion] | None = None,
) -> BenchmarkControl:
    """The control on the component's argument that a row of the guide sets, on hosts of the row's roles.

    It is for all versions, those too whose K3s the guide leaves the argument out of. `earlier` has the criteria of
    benchmarks that want something else than the guide.
    """
    name = row.name or row.key

    def flag(criterion: Criterion) -> ArgumentCheck:
        return ArgumentCheck(component, name, criterion, unset_passes)

    return BenchmarkControl(
        id=row.id,
        title=row.title,
        numbers=numbered(numbers),
        applies=Applies(row.applies.roles),
        check=flag(row.meets),
        earlier=MappingProxyType({benchmark: flag(criterion) for benchmark, criterion in (earlier or {}).items()}),
        why=row.why,
        guide=row,
        source=source,
    )
