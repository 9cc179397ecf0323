"""A host for unit tests: real files below a test directory, and fakes of programs, processes and the clock."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.base.host import Host
from agent.base.host.probe import K3sProcess
from agent.base.host.process import LARGEST_OUTPUT, Completed


@dataclass
class Programs:
    """A Runner with answers for complete command lines; any other command line fails the test."""

    answers: Mapping[tuple[str, ...], Completed] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        """Record the command line and return its answer."""
        assert timeout > 0
        assert largest_output > 0
        command = tuple(argv)
        assert command in self.answers, f"no answer for the command {command}"
        self.asked.append(command)
        return self.answers[command]


@dataclass
class Clock:
    """A clock that only sleep() advances; seconds since the epoch."""

    seconds: float = 1_700_000_000.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def fake_host(
    root: Path,
    *,
    programs: Programs | None = None,
    processes: tuple[K3sProcess, ...] = (),
    clock: Clock | None = None,
    is_live: bool = False,
) -> Host:
    """Return a host below `root` whose root user is the user that runs the tests."""
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
def in_memory(*below: str) -> Iterator[Path]:
    """Yield a temporary directory with directories below it, in memory if possible, where fsync(2) costs nothing."""
    memory = Path("/dev/shm")  # noqa: S108 - a private directory is created in it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        for name in below:
            Path(directory, name).mkdir(parents=True)
        yield Path(directory)


def unit_file(name: str) -> ConfigParser:
    """Return a parsed unit file, with the last value of a repeated key."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capital letters
    parser.read(Path(__file__).parents[1] / "systemd" / name)
    return parser


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs with these options of mount(8); requires root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
