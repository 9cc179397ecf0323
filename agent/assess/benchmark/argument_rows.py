"""Rows about component arguments that several tables have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.harden.guide.criteria import ListExcludes, ModernTls
from agent.k3s.roles_and_versions import Applies, Component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.harden.guide.criteria import Criterion
    from agent.harden.guide.k3s_options import OptionRow
    from agent.k3s.cis.versions import Benchmark


def of_the_guide(
    component: Component, row: OptionRow, *, earlier: Mapping[Benchmark, Criterion] | None = None
) -> BenchmarkControl:
    """Return the control of the component argument that a row of the guide sets, for the row's roles.

    Its ID, texts and criterion are those of the row. It applies to all versions, also if the guide does not set the
    argument there. `earlier` has the criteria of benchmarks whose requirement differs from the guide's.
    """

    def check(criterion: Criterion) -> ArgumentCheck:
        return ArgumentCheck(component, row.name or row.key, criterion, unset_passes=row.unset_complies)

    return benchmark_control(
        row.id,
        check(row.meets),
        applies=Applies(row.applies.roles),
        earlier={benchmark: check(criterion) for benchmark, criterion in (earlier or {}).items()},
        guide=row,
    )


def tls_version(identifier: str, component: Component, applies: Applies) -> BenchmarkControl:
    """Return the control of the oldest version of TLS that a component accepts."""
    check = ArgumentCheck(component, "tls-min-version", ModernTls(), unset_passes=True)
    return benchmark_control(identifier, check, applies=applies)


def without_plugin(plugin: str, argument: str = "disable-admission-plugins") -> ArgumentCheck:
    """Return the check that a list of the API server does not have an admission plugin."""
    return ArgumentCheck(Component.API_SERVER, argument, ListExcludes((plugin,)), unset_passes=True)
