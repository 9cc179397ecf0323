"""Progress bar of an assessment on a terminal; it disappears at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.benchmark.control import BenchmarkControl


def progress(controls: Sequence[BenchmarkControl]) -> Iterable[BenchmarkControl]:
    """Yield the controls, with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    return track(controls, description="Assessing", console=Console(stderr=True), transient=True)
