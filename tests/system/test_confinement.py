"""Confinement of a process that reads a node, with the capabilities that a pod can have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

CHECKOUT = Path(__file__).parents[2]
_CONFINED = """
import os, subprocess, sys
from agent.base.host.confinement import confine
confine()
print(next(line for line in open("/proc/self/status") if line.startswith("CapEff:")).split()[1])
for path in sys.argv[1:]:
    for change in (lambda: open(path, "w"), lambda: os.truncate(path, 0), lambda: open(f"{path}.new", "x")):
        try:
            change()
        except OSError as error:
            print(error.strerror)
print(subprocess.run(["/bin/cat"], stdin=subprocess.DEVNULL).returncode)
"""


def run(bounding_set: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these capabilities; a program of root has all of the bounding set."""
    command = ("setpriv", f"--bounding-set=-all{bounding_set}", sys.executable, *words)
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_a_confined_process_has_one_capability_and_changes_no_file(tmp_path: Path) -> None:
    """Programs that it starts can read from /dev/null."""
    file = tmp_path / "file"
    file.write_text("content")
    done = run(",+dac_read_search,+dac_override,+kill", "-c", _CONFINED, file)
    assert done.stdout.splitlines() == [f"{1 << 2:016x}", *3 * ["Permission denied"], "0"], done.stderr
    assert (list(tmp_path.iterdir()), file.read_text()) == ([file], "content")


def test_without_the_capability_nothing_is_assessed() -> None:
    """Otherwise a file that cannot be read could look like one that does not exist."""
    done = run("", "-m", "agent", "assess", "--root", "/", "--node", "node-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot use --root /: this process does not have the capability DAC_READ_SEARCH" in done.stderr
    assert "render assessment-job" in done.stderr
