"""A host for unit tests: real files below a directory of the test's, and stand-ins for all that lies beyond files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent.host.probe import K3sProcess
    from agent.host.process import Completed


@dataclass
class Programs:
    """A Runner that knows a few programs by their whole command line; any other ends the test."""

    answers: Mapping[tuple[str, ...], Completed] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Completed:
        """The answer to these words, which are written down."""
        assert timeout > 0
        words = tuple(argv)
        assert words in self.answers, f"nobody said what {words} does"
        self.asked.append(words)
        return self.answers[words]


@dataclass
class Clock:
    """Time that passes only when somebody sleeps; seconds since the epoch."""

    seconds: float = 1_700_000_000.0

    def now(self) -> float:
        """What time it is."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


def fake_host(
    root: Path,
    *,
    programs: Programs | None = None,
    processes: tuple[K3sProcess, ...] = (),
    clock: Clock | None = None,
    is_live: bool = False,
) -> Host:
    """A host below `root`, on which whoever runs the tests stands for root."""
    clock = clock or Clock()
    return Host(
        root=str(root),
        run=programs or Programs(),
        probe=lambda: processes,
        now=clock.now,
        sleep=clock.sleep,
        uid=os.geteuid(),
        gid=os.getegid(),
        is_live=is_live,
    )
