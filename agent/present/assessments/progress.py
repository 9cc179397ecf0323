"""How far an assessment has got, on a terminal; gone once it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.benchmark.control import BenchmarkControl


def progress(controls: Sequence[BenchmarkControl]) -> Iterable[BenchmarkControl]:
    """Pass the controls on, with a bar on standard error that says how many of them are left."""
    from rich.console import Console
    from rich.progress import track

    return track(controls, description="Assessing", console=Console(stderr=True), transient=True)
