"""Ctrl-C while Python still imports the program."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]

INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "agent.cli.streams":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
from agent.__main__ import main
main()
"""


def interrupted(setup: str = "") -> subprocess.CompletedProcess[str]:
    """Print the version, with a SIGINT in an import."""
    command = [sys.executable, "-c", f"{setup}\n{INTERRUPTED_IMPORT}", "--version"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_an_interrupted_import_ends_the_program_without_a_traceback() -> None:
    """By the signal itself, which shells report as exit code 130."""
    run = interrupted()
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")


def test_an_ignored_interrupt_stays_ignored() -> None:
    """As in a background job of a shell."""
    run = interrupted("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("k3s-harden ")
