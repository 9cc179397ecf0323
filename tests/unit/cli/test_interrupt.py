"""Ctrl-C in an import, and wherever else Python would not report it as a KeyboardInterrupt."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs_here import ran

CHECKOUT = Path(__file__).parents[3]

INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
"""

START = """
from agent.__main__ import main
main()
"""

INTERRUPTED_VERB = """
import os, signal, sys
from agent import cli
from agent.base.value import replace
class Field:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGINT)
class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        [None for _ in range(1000)]
def verb():
    {code}
    while True:
        pass
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.argv[1:] = ["check"]
cli.COMMANDS["check"] = replace(cli.COMMANDS["check"], function=verb)
cli.main()
"""


def run(*parts: str) -> subprocess.CompletedProcess[str]:
    return ran(sys.executable, "-c", "\n".join(parts), "--version", cwd=CHECKOUT, timeout=60)


@pytest.mark.parametrize(
    ("module", "start"),
    [
        ("agent.cli.streams", START),
        ("typer", START),
        # Before the program is found.
        *(
            ("agent", (CHECKOUT / ".ci/dist" / script).read_text("utf-8"))
            for script in ("deb/k3s-harden", "rpm/start.py", "bundle/start.py", "single-file.py")
        ),
    ],
    ids=["own", "typer", "deb", "rpm", "bundle", "single file"],
)
def test_an_interrupted_import_ends_the_program_without_a_traceback(module: str, start: str) -> None:
    """By the signal itself, which shells report as exit code 130."""
    done = run(INTERRUPTED_IMPORT.format(module=module), start)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("code", ["type('New', (), {'field': Field()})", "Destroyed()", "raise KeyboardInterrupt"])
def test_an_interrupt_in_any_place_of_a_verb_is_reported_as_one(code: str) -> None:
    """Python makes a RuntimeError of it in a new class, and prints and discards it in a destructor."""
    done = run(INTERRUPTED_VERB.format(code=code))
    assert done.returncode == 130
    assert done.stderr.startswith("k3s-harden: interrupted\n  fix: run k3s-harden check")
    assert len(done.stderr.splitlines()) == 2


def test_an_ignored_interrupt_stays_ignored() -> None:
    """As in a background job of a shell."""
    ignores = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = run(ignores, INTERRUPTED_IMPORT.format(module="agent.cli.streams"), START)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("k3s-harden ")
