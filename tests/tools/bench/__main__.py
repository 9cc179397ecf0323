"""Cost of apply without changes, check and assess, compared with other tools and on growing hosts: `make bench`.

Prints Markdown; docs/explanation/performance.md contains the output of one machine. The machine is not changed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.tools.bench import growth, start, work
from tests.tools.bench.growth import Growth
from tests.tools.bench.measure import HOME, BenchError, Command, Cost, in_turn

_APPLY = "`k3s-harden apply`, no changes"
_CHECK = "`k3s-harden check`"
_ASSESS = "`k3s-harden assess` of a server"
_WITH_OPTION = "`k3s-harden assess --quiet` of a server"
_OURS = (_APPLY, _CHECK, _ASSESS)
_PYTHON = "`python -c pass`"
_TYPER = "`python -c 'import typer'`"
_HALF = 0.5
_OF_TOOLS = {"pyinfra": 1 / 9, "ansible-playbook": 1 / 45}
"""The part of the time of these tools that `apply` takes at most."""


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.tools.bench", description=__doc__)
    words.add_argument("--start", action="store_true", help="measure only the start of K3s, and kube-bench")
    words.add_argument("--rounds", type=int, default=15, help="number of runs per command (default: %(default)s)")
    chosen = words.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        for line in _start(work.this_program(), chosen.rounds) if chosen.start else _report(chosen.rounds):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except BenchError as error:
        sys.stderr.write(f"cannot continue: {error}\n")
        return 1
    return 0


def _report(rounds: int) -> Iterator[str]:
    program = work.this_program()
    ready = work.ready_tree(program)
    tools = [work.by_guide(ready)]
    absent = []
    for by_tool in (work.by_pyinfra, work.by_ansible):
        try:
            tools.append(by_tool(ready))
        except work.AbsentError as error:
            absent.append(f"Not measured: {error}.")
    yield _machine(program, rounds)
    yield ""
    with work.hardened_server(program) as enter:
        costs = in_turn(_commands(program, enter) | {tool.name: tool.command for tool in tools}, rounds)
    yield from _compared(costs)
    yield ""
    yield from _limits(costs)
    yield from absent
    yield ""
    yield from _grown(growth.measured(program))
    yield ""
    yield from _start(program, rounds)


def _start(program: Path, rounds: int) -> Iterator[str]:
    if start.absent():
        yield f"Start of K3s not measured, nor kube-bench: {start.absent()}."
    else:
        yield from start.lines(start.measured(program, rounds))


def _commands(program: Path, enter: tuple[str, ...]) -> dict[str, Command]:
    """Return verbs as units and most people run them, one with an option, and the cost of Python and Typer there."""
    python = str(program.with_name("python"))
    return {
        _APPLY: Command((*enter, str(program), "apply")),
        _CHECK: Command((*enter, str(program), "check")),
        _ASSESS: Command((*enter, str(program), "assess"), codes=(0, 3)),
        _WITH_OPTION: Command((*enter, str(program), "assess", "--quiet"), codes=(0, 3)),
        _PYTHON: Command((*enter, python, "-c", "pass")),
        _TYPER: Command((*enter, python, "-c", "import typer")),
    }


def _limits(costs: dict[str, Cost]) -> Iterator[str]:
    """Yield a table of the limits, each with the measured value."""
    limits = [(_APPLY, _TYPER, 1.5), (_CHECK, _TYPER, 1.5), (_ASSESS, _TYPER, 2.0), (_WITH_OPTION, _TYPER, 2.75)]
    limits += [(_APPLY, name, most) for name in costs for tool, most in _OF_TOOLS.items() if name.startswith(tool)]
    yield "| time of | compared with | at most | measured |"
    yield "|---|---|--:|--:|"
    for name, other, most in limits:
        ratio = costs[name].ratio(costs[other])
        yield f"| {name} | {other} | {_factor(most)} | {_factor(ratio)}{'' if ratio <= most else ', not met'} |"


def _machine(program: Path, rounds: int) -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = [*models, platform.machine()][0]
    return " · ".join(
        (
            f"{processor}, {os.cpu_count()} cores",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            f"typer {work.version(program.with_name('python'), 'typer')}",
            f"{rounds} rounds, load {os.getloadavg()[0]:.1f} at their start",
        )
    )


def _compared(costs: dict[str, Cost]) -> Iterator[str]:
    """Yield the table of commands; a cell contains the ratios of elapsed time and of processor time."""
    yield "| command | time | processor | memory | apply takes | check takes | assess takes |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, cost in costs.items():
        ratios = [_times(costs[ours], cost) if ours != name else "" for ours in _OURS]
        memory = f"{cost.memory / (1 << 20):.0f} MiB"
        yield f"| {name} | {_time(cost.seconds)} | {_time(cost.processor)} | {memory} | {' | '.join(ratios)} |"


def _times(ours: Cost, theirs: Cost) -> str:
    return f"{_factor(ours.ratio(theirs))} ({_factor(ours.processor_ratio(theirs))})"


def _factor(ratio: float) -> str:
    return f"×{ratio:.2f}" if ratio > _HALF else f"1/{1 / ratio:.1f}"


def _grown(kinds: Iterator[Growth]) -> Iterator[str]:
    counts = growth.COUNTS
    heads = ["processor time with", *(f"{count:,}" for count in counts)]
    heads += ["each, up to 1,000", "each, up to 10,000", "memory"]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'--:|' * (len(counts) + 3)}"
    for kind in kinds:
        times = " | ".join(_time(kind.costs[count].processor) for count in counts)
        each = f"{_time(kind.each(10, 1_000))} | {_time(kind.each(1_000, 10_000))}"
        memory = max(cost.memory for cost in kind.costs.values()) / (1 << 20)
        yield f"| {kind.name} | {times} | {each} | {memory:.0f} MiB |"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


if __name__ == "__main__":
    sys.exit(main())
