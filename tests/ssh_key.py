"""Keys of OpenSSH, with which tests sign."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def new_key(file: Path, passphrase: str = "") -> Path:
    """Make a private key, with the public one beside it; skip the test if ssh-keygen(1) is missing."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen: apt-get install -y openssh-client")
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", file), check=True)
    return file
