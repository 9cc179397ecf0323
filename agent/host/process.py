"""The one way to run another program: absolute path, fixed environment, no terminal, a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin")
"""Where tools are looked for. sudo's secure_path and cloud-init's PATH both lack /usr/local/bin on some systems."""


class Completed(NamedTuple):
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs `argv` (argv[0] absolute) for at most `timeout` seconds; raises HostError if it cannot or takes longer."""

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Completed:
        """How it ended."""
        ...


def run(argv: Sequence[str], *, timeout: float) -> Completed:
    """The Runner of a real host."""
    import subprocess

    environment = {"PATH": ":".join(SEARCH_PATH), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(  # noqa: S603 - argv is a list of our own words, never a shell's line
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
        raise HostError(f"cannot get an answer from {argv[0]}: no end after {timeout:g} s") from error
    except OSError as error:
        raise HostError(f"cannot run {argv[0]}: {error.strerror}") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def run_nothing(argv: Sequence[str], *, timeout: float) -> Completed:
    """The Runner of a --root tree: its programs are not this machine's to run."""
    raise HostError(f"cannot run {argv[0]}: programs of a host tree are not run (limit {timeout:g} s unused)")
