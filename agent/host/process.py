"""Execution of other programs: absolute path, fixed environment, no terminal, a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin")
"""Directories of tools. On some systems sudo's secure_path and cloud-init's PATH lack /usr/local/bin."""


class Completed(NamedTuple):
    """Exit code and output of a program."""

    code: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs a program whose path is absolute. Raises HostError if it cannot start or exceeds `timeout` seconds."""

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Completed:
        """Run the program and return its result."""
        ...


def run(argv: Sequence[str], *, timeout: float) -> Completed:
    """Run a program on the real host."""
    import subprocess

    environment = {"PATH": ":".join(SEARCH_PATH), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(  # noqa: S603 - argv is a list of fixed words; no shell is involved
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=environment,
            encoding="utf-8",
            errors="replace",
            cwd="/",
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(f"cannot run {argv[0]}: it did not finish within {timeout:g} s") from error
    except OSError as error:
        raise HostError(f"cannot run {argv[0]}: {error.strerror}") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def run_nothing(argv: Sequence[str], *, timeout: float) -> Completed:
    """Refuse to run a program of a --root tree."""
    raise HostError(f"cannot run {argv[0]}: programs of a --root tree are not run (limit {timeout:g} s)")
