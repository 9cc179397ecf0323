"""GPG keys that tests create and use."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Keys:
    """The keys in a directory of GnuPG."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._fingerprints: dict[str, str] = {}

    def named(self, name: str) -> str:
        """Return the fingerprint of the key with this name, which docs/howto/mirror.md creates likewise."""
        if name not in self._fingerprints:
            address = f"<{name}@example.com>"
            self._gpg(
                "--batch", "--passphrase", "", "--quick-generate-key", f"{name} {address}", "rsa2048", "sign", "2y"
            )
            lines = self._gpg("--list-keys", "--with-colons", address).splitlines()
            self._fingerprints[name] = next(line.split(":")[9] for line in lines if line.startswith("fpr"))
        return self._fingerprints[name]

    def _gpg(self, *words: str) -> str:
        done = subprocess.run(("gpg", "--homedir", self._home, *words), capture_output=True, text=True, check=True)
        return done.stdout


@contextmanager
def temporary_keys() -> Iterator[Keys]:
    """Yield keys in a directory that GnuPG uses meanwhile."""
    # The path of the agent's socket is limited to 107 characters.
    with tempfile.TemporaryDirectory(prefix="k3s-harden-keys-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", name)
        yield Keys(Path(name))
        subprocess.run(("gpgconf", "--kill", "all"), check=True)
