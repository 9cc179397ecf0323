"""Assess a host against a benchmark: look once, ask every control, take the site's waivers into account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import evidence, waivers
from agent.assessment import Assessment, Notice
from agent.benchmark import catalogue
from agent.benchmark.check import AllOf, Ownership, Permissions
from agent.benchmark.versions import Benchmark, fitting
from agent.errors import UsageError
from agent.facts import dropin_directory
from agent.situation import look
from agent.verdicts import verdict
from agent.verdicts.look import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.host import Host
    from agent.situation import Request, Situation

AUTO = "auto"
"""Stands for the newest benchmark that is for the host's K3s version."""


def assess_host(
    host: Host,
    request: Request,
    benchmark: Benchmark | None = None,
    *,
    known: frozenset[str] | None = None,
    watched: Callable[[Sequence[BenchmarkControl]], Iterable[BenchmarkControl]] = iter,
) -> Assessment:
    """Assess this host, against the benchmark that fits its K3s version if none is named. Changes nothing.

    `known` has the ids of controls that were open before. The controls go through `watched`, which may show how far it
    got. Raises what situation.look raises.
    """
    seen = look(host, request)
    benchmark = benchmark or fitting(seen.facts.version)
    controls = catalogue.of(benchmark)
    asked = [check for control in controls for check in _file_checks(control.check_of(benchmark))]
    at = Look(seen, evidence.read(host, seen.facts, asked))
    chosen = waivers.select(seen.waivers, controls, benchmark, seen.scope)
    verdicts = tuple(verdict(control, benchmark, at, chosen.of(control)) for control in watched(controls))
    unused = chosen.unused({one.control.id: one.status for one in verdicts})
    return Assessment(
        benchmark=benchmark,
        node=at.evidence.node,
        when=host.now(),
        facts=seen.facts.evidence,
        verdicts=verdicts,
        notices=(*_notices(host, seen), *chosen.notices, *unused),
        known=known,
    )


def benchmark_named(text: str) -> Benchmark | None:
    """The benchmark that a word names, with or without `cis-`; None for `auto`. Raises UsageError for any other."""
    if text == AUTO:
        return None
    try:
        return Benchmark(f"cis-{text.removeprefix('cis-')}")
    except ValueError:
        raise UsageError(
            f"cannot assess against the benchmark {text}: it is not known", f"one of {', '.join(Benchmark)}, or {AUTO}"
        ) from None


def _file_checks(check: Check) -> Iterator[Permissions | Ownership]:
    for one in check.checks if isinstance(check, AllOf) else (check,):
        if isinstance(one, Permissions | Ownership):
            yield one


def _notices(host: Host, seen: Situation) -> Iterator[Notice]:
    """What keeps this assessment from telling all that there is to tell."""
    if not seen.facts.version_is_known:
        yield Notice(
            f"the K3s version is not known: {seen.facts.version} is assumed, and what depends on it is not told",
            "",
            "say --k3s-version, or `k3s-version` in the settings",
        )
    for complaint in seen.unreadable:
        yield Notice(complaint, "", "run it as root" if "Permission denied" in complaint else "look at what is there")
    restart = f"restart {seen.facts.service}"
    for path in _changed_since_start(host, seen):
        yield Notice("K3s runs since before this file was changed, and with what it said then", path, restart)


def _changed_since_start(host: Host, seen: Situation) -> Iterable[str]:
    """The files that K3s reads at its start alone and that were changed since, by their paths."""
    since = seen.facts.running_since
    if since is None:
        return ()
    directory = dropin_directory(seen.facts.config_path)
    names = host.tree.names(directory)
    read_at_start = (
        seen.facts.config_path,
        *(directory / name for name in names if name.endswith((".yaml", ".yml"))),
        *(unit.path for unit in seen.facts.units if unit.role is seen.facts.role),
    )
    times = ((path, host.tree.times(path)) for path in read_at_start)
    changed = (str(path) for path, found in times if found is not None and found.changed > since)
    return dict.fromkeys((*seen.stale_inputs, *changed))
