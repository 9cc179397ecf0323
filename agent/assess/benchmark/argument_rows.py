"""Rows about component arguments: those of the guide, and those whose fix is an edit of K3s' configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Restart
from agent.harden.guide.criteria import ListExcludes, ModernTls
from agent.k3s.default_paths import K3S_CONFIG_FILE
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
        return ArgumentCheck(component, row.name or row.key, criterion, row.unset_complies)

    return benchmark_control(
        row.id,
        check(row.meets),
        applies=Applies(row.applies.roles),
        earlier={benchmark: check(criterion) for benchmark, criterion in (earlier or {}).items()},
        guide=row,
    )


def left_to_default(
    identifier: str, check: ArgumentCheck, *, applies: Applies, default: str, elsewhere: str = ""
) -> BenchmarkControl:
    """Return the control of an argument that nobody has to set; `default` is what applies without it."""
    repair = removed(check.component, check.name, default=default, elsewhere=elsewhere)
    return benchmark_control(identifier, check, applies=applies, repair=repair)


def tls_version(identifier: str, component: Component, applies: Applies) -> BenchmarkControl:
    """Return the control of the oldest version of TLS that a component accepts."""
    check = ArgumentCheck(component, "tls-min-version", ModernTls(), unset_passes=True)
    return left_to_default(identifier, check, applies=applies, default="the default is VersionTLS12")


def without_plugin(plugin: str, argument: str = "disable-admission-plugins") -> ArgumentCheck:
    """Return the check that a list of the API server does not have an admission plugin."""
    return ArgumentCheck(Component.API_SERVER, argument, ListExcludes((plugin,)), unset_passes=True)


def in_k3s_config(text: str) -> Repair:
    """Return an edit of K3s' main configuration file, which takes effect when K3s restarts."""
    return Repair((Instruction(text, Location(K3S_CONFIG_FILE)),), restart=Restart.K3S)


def added(component: Component, argument: str) -> Repair:
    """Return the addition of an argument to K3s' configuration."""
    return in_k3s_config(f"add `{argument}` to the list `{component.config_key}`")


def removed(component: Component, *names: str, default: str, elsewhere: str = "") -> Repair:
    """Return the removal of arguments from K3s' configuration, and from `elsewhere`; `default` is what applies then."""
    arguments = " and ".join(f"`{name}`" for name in names)
    text = (
        f"remove {arguments} from the list `{component.config_key}` in K3s' configuration{elsewhere}, because {default}"
    )
    return Repair((Instruction(text),), restart=Restart.K3S)
