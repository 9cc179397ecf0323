"""Run k3s-harden many times with one import: each run is a fork of a process that has loaded the program.

A line of JSON with the output file and the arguments creates a process and prints its id. The process starts at the
next line. When it ends, its exit code is printed, negative for a signal. What a complete run imported is imported for
all later runs.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from socket import socket, socketpair
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


def become(output: str, words: list[str], server: socket) -> NoReturn:
    """Wait for the server in the new process, run once, and send the names of the imported modules."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        os.dup2(1, 2)
        loaded = set(sys.modules)
        server.sendall(b"\n")  # its files are open: who traces it from now on counts only the calls of the run
        server.recv(1)
        code = run(words)
        sys.stdout.flush()
        # Not write(2): tests count those calls.
        # Modules that Cython makes up have no __spec__, and cannot be imported by name.
        found = [name for name in sys.modules.keys() - loaded if getattr(sys.modules[name], "__spec__", None)]
        server.sendall("\n".join(found).encode())
    finally:
        os._exit(code)


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        output, *words = json.loads(line)
        here, there = socketpair()
        number = os.fork()
        if not number:
            here.close()
            become(output, words, there)
        there.close()
        here.recv(1)
        say(number)
        sys.stdin.readline()
        here.sendall(b"\n")
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        with here.makefile(encoding="ascii") as imported:
            for name in imported.read().split():
                importlib.import_module(name)
        here.close()
        say(code)


if __name__ == "__main__":
    main()
