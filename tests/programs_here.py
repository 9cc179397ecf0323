"""The programs of this machine: how tests run them, and what a container or a chroot denies them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


def ran(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program, and return its exit code and both outputs."""
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@cache
def works(*command: str) -> bool:
    """Return whether the command exists and succeeds here."""
    tool = shutil.which(command[0])
    return tool is not None and subprocess.run([tool, *command[1:]], capture_output=True, check=False).returncode == 0


def without_private_mounts() -> str:
    if works("unshare", "--mount", "--propagation", "private", "true"):
        return ""
    return "needs a private mount namespace, and unshare(1) fails here"
