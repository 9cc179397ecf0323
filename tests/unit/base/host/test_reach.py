"""Who reaches a file, compared with the kernel on random states: modes, owners, access control lists, links, mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NUMBER = int(os.environ.get("REACH_STATES", "250"))
"""States; 13 take a second."""
FIRST = int(os.environ.get("REACH_SEED", "0"))


@pytest.mark.root
def test_reach_agrees_with_the_kernel() -> None:
    script = (sys.executable, "-m", "tests.reach_states", str(FIRST), str(NUMBER))
    ran = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *script],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + NUMBER,
    )
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip(f"no mount namespace: {ran.stderr}")
    assert (ran.returncode, ran.stdout.rpartition(", ")[2]) == (0, "0 wrong\n"), ran.stdout + ran.stderr
