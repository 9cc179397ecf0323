"""A host for unit tests: real files below a directory of the test's, and stand-ins for all that lies beyond files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.host import Host
from agent.host.process import LARGEST_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.host.probe import K3sProcess
    from agent.host.process import Completed


@dataclass
class Programs:
    """A Runner that knows a few programs by their whole command line; any other ends the test."""

    answers: Mapping[tuple[str, ...], Completed] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        """The answer to these words, which are written down."""
        assert timeout > 0
        assert largest_output > 0
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
        lock_wait=0,
    )


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory for tests that write a lot: in memory, where there is such a place, fsync(2) costs nothing."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


def names(directory: Path) -> list[str]:
    """The names in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A small file system in memory, for tests that run as root; `options` as mount(8) takes them."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(file: Path) -> None:
    """Take the last byte of the file system that the file is on."""
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
