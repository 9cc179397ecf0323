"""Execution of other programs: absolute path, fixed environment, no terminal, limited time and output."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from agent.base.errors import HostError, LimitError
from agent.base.repair import Instruction
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from subprocess import Popen

SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin")
"""Directories of tools. On some systems sudo's secure_path and cloud-init's PATH lack /usr/local/bin."""


ENVIRONMENT = {"PATH": ":".join(SEARCH_PATH), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
"""The environment of programs of the host."""


class Completed(Value):
    """Exit code and output of a program."""

    code: int
    stdout: str
    stderr: str


LARGEST_OUTPUT = 64 * 1024
"""Bytes of each output of a program, unless the caller names another limit."""

_AT_ONCE = 64 * 1024


class Runner(Protocol):
    """Runs a program whose path is absolute.

    Raises HostError if it cannot start, exceeds `timeout` seconds, or writes more than `largest_output` bytes.
    """

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        """Run the program and return its result."""
        ...


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    largest_output: int = LARGEST_OUTPUT,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program on the real host. At a limit, it is killed with all processes of its group.

    In the environment of a user, it has the user's current directory, and is looked up in the user's PATH.
    """
    import subprocess

    directory = None if environment else "/"
    environment = environment or ENVIRONMENT
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(  # noqa: S603 - argv is a list of fixed words; no shell is involved
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError) and "/" not in argv[0]
        steps = (Instruction(f"install {argv[0]}"),) if is_missing else ()
        raise HostError(f"cannot run {argv[0]}: {error.strerror}", *steps) from error
    try:
        stdout, stderr = _outputs(process, deadline, largest_output)
        code = process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise HostError(f"cannot run {argv[0]}: it did not finish within {timeout:g} s") from error
    except _TooLargeError as error:
        raise LimitError(f"cannot run {argv[0]}: it printed more than {largest_output} bytes") from error
    finally:
        _end(process)
    return Completed(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


class _TooLargeError(Exception):
    """An output is larger than its limit."""


def _outputs(process: Popen[bytes], deadline: float, limit: int) -> tuple[bytes, bytes]:
    """Read both outputs to their ends. Raises TimeoutExpired and _TooLargeError."""
    import selectors
    import subprocess

    found = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in found:
            selector.register(pipe, selectors.EVENT_READ)  # type: ignore[arg-type]  # both are pipes
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in ready:
                chunk = os.read(key.fd, _AT_ONCE)
                if not chunk:
                    selector.unregister(key.fileobj)
                output = found[key.fileobj]  # type: ignore[index]  # one of the pipes
                output += chunk
                if len(output) > limit:
                    raise _TooLargeError
    return bytes(found[process.stdout]), bytes(found[process.stderr])


def _end(process: Popen[bytes]) -> None:
    """Kill a program that still runs, with its children, and close its pipes."""
    import signal

    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def run_below(root: str, argv: Sequence[str]) -> int:
    """Run a program with another root directory and the output of this process, and return its exit code."""
    import subprocess
    from functools import partial

    enter = partial(os.chroot, root)
    try:
        return subprocess.call(argv, env=ENVIRONMENT, cwd=root, preexec_fn=enter)  # noqa: S603 - as above
    except (OSError, subprocess.SubprocessError) as error:
        raise HostError(
            f"cannot run {argv[0]} below {root}: {error}", Instruction("run this in a privileged container")
        ) from error


def run_pager(text: bytes, environment: Mapping[str, str]) -> bool:
    """Show a text as git(1) does, by $PAGER or less, and return whether that was possible.

    By sudo it is less, which then starts no other program: a rule of sudoers for this program must not give a shell.
    """
    import shutil
    import signal
    import subprocess

    by_sudo = "SUDO_UID" in environment
    words = ["less"] if by_sudo else environment.get("PAGER", "less").split()
    if not words or words == ["cat"] or environment.get("TERM", "dumb") == "dumb" or not shutil.which(words[0]):
        return False
    environment = {"LESS": "FRX", **environment, **({"LESSSECURE": "1"} if by_sudo else {})}
    interrupt = signal.signal(signal.SIGINT, lambda *_: None)  # the pager handles it
    try:
        subprocess.run(words, input=text, env=environment, check=False)  # noqa: S603 - as above
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return True


def run_static(root: str, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
    """Run a program below a root directory that needs no library there, such as K3s."""
    return run([f"{root}{argv[0]}", *argv[1:]], timeout=timeout, largest_output=largest_output)


def run_nothing(argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
    """Refuse to run a program of a --root tree."""
    limits = f"limits {timeout:g} s and {largest_output} bytes"
    raise HostError(f"cannot run {argv[0]}: programs of a --root tree are not run ({limits})")
