"""What the programs of this machine are allowed to do: a container or a chroot denies some of it."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def works(*command: str) -> bool:
    """Return whether the command exists and succeeds here."""
    tool = shutil.which(command[0])
    return tool is not None and subprocess.run([tool, *command[1:]], capture_output=True, check=False).returncode == 0


def without_private_mounts() -> str:
    if works("unshare", "--mount", "--propagation", "private", "true"):
        return ""
    return "needs a private mount namespace, and unshare(1) fails here"
