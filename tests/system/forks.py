"""Run k3s-harden many times with one import: each run is a fork of a process that has loaded the program.

`forks.py TREE` warms up on that host tree, then serves. A line of JSON with the output file and the arguments creates a
process and prints its id. The process starts at the next line. When it ends, its exit code is printed, negative for a
signal.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import NoReturn

from agent import cli


def run(words: list[str]) -> int:
    """Run the program like its console script, and return its exit code."""
    sys.argv = ["k3s-harden", *words]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def become(output: str, words: list[str], gate: int) -> NoReturn:
    """Wait for the start line in the new process, then run once."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        os.dup2(1, 2)
        os.read(gate, 1)
        code = run(words)
        sys.stdout.flush()
    finally:
        os._exit(code)


def warm_up(tree: str) -> None:
    """Import in a process of its own what each verb imports while it runs."""
    for verb, *options in (
        ("apply", "--role=server"),
        ("diff", "--role=server"),
        ("assess", "--role=server"),
        ("revert",),
    ):
        reader, writer = os.pipe()
        if not os.fork():
            with redirect_stdout(StringIO()):
                run([verb, f"--root={tree}", *options])
            os.write(writer, "\n".join(sys.modules).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="ascii") as imported:
            for name in imported.read().split():
                importlib.import_module(name)
        os.wait()


def say(number: int) -> None:
    """Print an answer."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main(tree: str) -> None:
    """Serve until the input ends."""
    warm_up(tree)
    for line in sys.stdin:
        output, *words = json.loads(line)
        gate, opener = os.pipe()
        number = os.fork()
        if not number:
            os.close(opener)
            become(output, words, gate)
        os.close(gate)
        say(number)
        sys.stdin.readline()
        os.close(opener)
        say(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))


if __name__ == "__main__":
    main(sys.argv[1])
