"""A server process with the program loaded, which forks for each run.

Loading the program takes ten times as long as a run. Tests of streams, locales or users need a new process:
host_tree.run starts one.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, NoReturn

CHECKOUT = Path(__file__).parents[2]
_IMPORTED_LATE = ("difflib", "json", "rich.console", "rich.syntax", "rich.table", "shlex", "yaml")


class Completed(NamedTuple):
    """Exit code and output of a run."""

    code: int
    stdout: str
    stderr: str


class LoadedProgram:
    """The server process, as a context manager."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "tests.scenarios.loaded_program", self._directory.name]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        self._server = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> LoadedProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._server.communicate()
        self._directory.cleanup()

    def run(self, *words: str, limits: Mapping[int, int] | None = None) -> Completed:
        """Run the program with these arguments and limits of setrlimit(2), without a terminal."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{json.dumps([words, [*(limits or {}).items()]])}\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        out, err = (Path(self._directory.name, name).read_text("utf-8", "surrogateescape") for name in ("out", "err"))
        return Completed(code, out, err)


def serve(directory: str) -> None:
    """Run the arguments in each line of the input, and print each exit code, until the input ends."""
    for path in sorted((CHECKOUT / "agent").rglob("*.py")):
        parts = path.relative_to(CHECKOUT).with_suffix("").parts
        importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    for line in sys.stdin:
        words, limits = json.loads(line)
        process = os.fork()
        if not process:
            become(words, limits, directory)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
        sys.stdout.flush()


def become(words: list[str], limits: list[tuple[int, int]], directory: str) -> NoReturn:
    """Run the program in the forked process, and exit."""
    from agent.cli import main
    from tests.scenarios.gate_of_tree import NAME

    words = [NAME, *words[1:]] if words[0] == "gate" else words
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.argv = ["k3s-harden", *words]
    code = 0
    try:
        for resource_, most in limits:
            resource.setrlimit(resource_, (most, most))
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - prints the traceback as Python does
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # The normal exit of Python, which finalizes all modules, takes longer than the run.
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
